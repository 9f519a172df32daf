// Decides once how far ahead products ask for memory, by the maker of the processor.

#include "read_ahead.h"

#include <cpuid.h>

int read_ahead_words;

// Products read memory strictly forwards. AMD's processors follow that by themselves, three times as fast (Zen 4) as when
// they are asked for lines; Intel's deliver more when they are asked for what comes about as soon as memory answers.
__attribute__((constructor)) static void decide(void) {
  unsigned int highest, b, c, d;
  const int amd = __get_cpuid(0, &highest, &b, &c, &d) && (b == signature_AMD_ebx || b == signature_HYGON_ebx);
#ifdef __AVX512F__
  read_ahead_words = amd ? 0 : 1024;
#else
  read_ahead_words = amd ? 0 : 512;
#endif
}
