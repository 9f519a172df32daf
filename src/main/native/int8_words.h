// Words of four 8-bit numbers, each of a quarter of a head's dimensions, as PageLayout.java has them.

#ifndef KVFREEZE_INT8_WORDS_H
#define KVFREEZE_INT8_WORDS_H

#include "bfloat16.h"

// As the ordinals of KvFormat.java.
enum { FORMAT_BF16 = 0, FORMAT_F32 = 1, FORMAT_INT8 = 2 };

enum { QUARTERS = 4, SCALE_WORDS = 2 };

// Words of a token's key or value.
INLINE int token_words(int head_size, int format) {
  return format == FORMAT_INT8 ? head_size / QUARTERS + SCALE_WORDS : head_size / 2;
}

// The numbers of a quarter.
INLINE __m512 quarter_of(__m512i words, const int quarter) {
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(words, 24 - 8 * quarter), 24));
}

// The scale of a quarter, of the two words that hold all.
INLINE __m512 scale_of(__m512i word, const int quarter) { return quarter % 2 ? high_half(word) : low_half(word); }

#endif
