// Rows of activations rounded to 8 bits, as the products read them: NativeProducts.java sizes them.

#ifndef KVFREEZE_ROUNDED_ROWS_H
#define KVFREEZE_ROUNDED_ROWS_H

#include <stdint.h>
#include <string.h>

#include "read_ahead.h"
#include "weights.h"

enum {
  // A block of rounded activations in words: 8 words of quants for words of eight 4-bit weights, the even columns
  // of each 8 and then the odd ones; 8 of the quants in order, for words of four 8-bit weights; the sums of the
  // first and of the second 16 quants; their scale, a float.
  ORDERED = 8,
  FIRST_SUM = 16,
  SECOND_SUM = 17,
  SCALE = 18,
  BLOCK_WORDS = 20,
  MAX_ROWS_TOGETHER = 4
};

// Asks for the line that will be multiplied some time after this one.
INLINE void ask_ahead(const int32_t *at) { _mm_prefetch((const char *)(at + read_ahead_words), _MM_HINT_T0); }

// Asks for lines in the order of memory: those that will be read in another one.
INLINE void ask_for(const int32_t *from, int words) {
  for (int i = 0; i < words; i += LINE_WORDS) {
    _mm_prefetch((const char *)(from + i), _MM_HINT_T0);
  }
}

INLINE float float_at(const int32_t *word) {
  float value;
  memcpy(&value, word, sizeof value);
  return value;
}

// The largest magnitude of 32 numbers, NaN where one is: as integers, the bits of positive floats are ordered, NaN last.
INLINE float largest_of(__m512 low, __m512 high) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i larger = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(low), magnitude),
                                          _mm512_and_si512(_mm512_castps_si512(high), magnitude));
  const int bits = _mm512_reduce_max_epi32(larger);
  float largest;
  memcpy(&largest, &bits, sizeof largest);
  return largest;
}

// Below the smallest normal number a quotient would overflow; such a block is zeros for every purpose.
INLINE float inverse_of(float largest, float quants) { return largest < 0x1p-126f ? 0 : quants / largest; }

#endif
