// The vectors of 512 bits that the kernels are written in: registers of AVX-512, or pairs of registers of AVX2.

#ifndef KVFREEZE_VECTORS_H
#define KVFREEZE_VECTORS_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#ifndef __AVX512F__
#include "vector_names_avx2.h"
#endif

// The first lanes of 16, as many as there are.
INLINE __mmask16 first_lanes(int count) {
  return _cvtu32_mask16(count >= 16 ? 0xffff : (1u << count) - 1);
}

#endif
