// Integer dot products of rounded activations with quants, without VNNI: pairs of byte products in 16 bits.

#ifndef KVFREEZE_DOTS_AVX2_H
#define KVFREEZE_DOTS_AVX2_H

#include "rounded_rows.h"

INLINE __m512i first_dots(const int centred, int32_t sum) { return _mm512_setzero_si512(); }

// Here a sum is in its register: else the compiler adds up in an order that needs more registers than there are.
#define SETTLE(sum) __asm__("" : "+x"(sum))

// Adds a word of quants of eight rows, w of its block, times a row's block: eight nibbles or four bytes a row. Of nibbles
// sums are pairs in 16 bits: eight products of 15 and 127, two to a pair, stay in them. Of bytes they are in 32 bits: a
// pair of products of 128 and 127 stays in 16, so signs are moved from the quants to the activations, which are never
// -128; quants that are not centred have six bits at most.
INLINE __m256i add_word(__m256i sum, const int32_t *quants, const int32_t *x, int w, const int bits, const int centred) {
  const __m256i words = _mm256_loadu_si256((const __m256i *)quants);
  if (bits == 4) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i even = _mm256_and_si256(words, nibble);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(words, 4), nibble);
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(even, _mm256_set1_epi32(x[2 * w])));
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(odd, _mm256_set1_epi32(x[2 * w + 1])));
  } else {
    const __m256i own = _mm256_set1_epi32(x[ORDERED + w]);
    const __m256i quant = centred ? _mm256_xor_si256(words, _mm256_set1_epi8(-128)) : words;
    const __m256i size = centred ? _mm256_abs_epi8(quant) : words;
    const __m256i moved = centred ? _mm256_sign_epi8(own, quant) : own;
    const __m256i pairs = _mm256_maddubs_epi16(size, moved);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  SETTLE(sum);
  return sum;
}

INLINE __m256i widened(__m256i sum, const int bits) {
  return bits == 4 ? _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) : sum;
}

// Integer dot products of one group of columns of a block with `rows` rows; half a tile at a time, for its sums to fit.
INLINE void add_dots(const int32_t *quants, int stride, const int32_t *x, int x_stride, int rows, int from_word,
                     int to_word, const int bits, const int centred, __m512i dots[][2]) {
#pragma clang loop unroll(full)
  for (int half = 0; half < 2; half++) {
    __m256i sums[MAX_ROWS_TOGETHER][2];
    for (int r = 0; r < rows; r++) {
      sums[r][0] = sums[r][1] = _mm256_setzero_si256();
    }
#pragma clang loop unroll(full)
    for (int w = from_word; w < to_word; w++) {
      const int32_t *at = quants + w * stride + 16 * half;
      ask_ahead(at);
#pragma clang loop unroll(full)
      for (int i = 0; i < 2; i++) {
        for (int r = 0; r < rows; r++) {
          sums[r][i] = add_word(sums[r][i], at + 8 * i, x + r * x_stride, w, bits, centred);
        }
      }
    }
    for (int r = 0; r < rows; r++) {
      dots[r][half] = (__m512i){widened(sums[r][0], bits), widened(sums[r][1], bits)};
    }
  }
}

// The same of both blocks of a pair with one row, whose blocks follow each other: lines are read strictly forwards, which
// is what the memory's own prefetching follows.
INLINE void add_pair_dots(const int32_t *quants, const int32_t *x, int from_word, int to_word, const int bits,
                          const int centred, __m512i dots[2][2]) {
  __m256i sums[2][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    sums[i / 4][i % 4] = _mm256_setzero_si256();
  }
#pragma clang loop unroll(full)
  for (int w = from_word; w < to_word; w++) {
#pragma clang loop unroll(full)
    for (int b = 0; b < 2; b++) {
      const int32_t *at = quants + (2 * w + b) * TILE_ROWS;
      ask_ahead(at);
      ask_ahead(at + LINE_WORDS);
#pragma clang loop unroll(full)
      for (int i = 0; i < 4; i++) {
        sums[b][i] = add_word(sums[b][i], at + 8 * i, x + b * BLOCK_WORDS, w, bits, centred);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int b = 0; b < 2; b++) {
#pragma clang loop unroll(full)
    for (int half = 0; half < 2; half++) {
      const __m512i sum = {widened(sums[b][2 * half], bits), widened(sums[b][2 * half + 1], bits)};
      dots[b][half] = _mm512_add_epi32(dots[b][half], sum);
    }
  }
}

#endif
