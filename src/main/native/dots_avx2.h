// Integer dot products of rounded activations with quants, without VNNI: pairs of byte products in 16 bits.

#ifndef KVFREEZE_DOTS_AVX2_H
#define KVFREEZE_DOTS_AVX2_H

#include "rounded_rows.h"

INLINE __m512i first_dots(const int centred, int32_t sum) { return _mm512_setzero_si512(); }

// Here a sum is in its register: else the compiler adds up in an order that needs more registers than there are.
#define SETTLE(sum) __asm__("" : "+x"(sum))

INLINE __m256i load_words(const int32_t *from) { return _mm256_loadu_si256((const __m256i *)from); }

INLINE __m256i add_pairs(__m256i dots, __m256i pairs) {
  return _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// Eight products of 15 and 127 stay in 16 bits, two to a pair: a block is widened once.
INLINE void add_nibble_dots(const int32_t *quants, int stride, const int32_t *x, int x_stride, int rows, int from_word,
                            int to_word, __m256i dots[]) {
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i pairs[MAX_ROWS_TOGETHER][2];
  for (int r = 0; r < rows; r++) {
    pairs[r][0] = pairs[r][1] = _mm256_setzero_si256();
  }
#pragma clang loop unroll(full)
  for (int w = from_word; w < to_word; w++) {
    const int32_t *at = quants + w * stride;
    _mm_prefetch((const char *)(at + AHEAD_WORDS), _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (int i = 0; i < 2; i++) {
      const __m256i words = load_words(at + 8 * i);
      const __m256i even = _mm256_and_si256(words, nibble);
      const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(words, 4), nibble);
      for (int r = 0; r < rows; r++) {
        const int32_t *q = x + r * x_stride + 2 * w;
        pairs[r][i] = _mm256_add_epi16(pairs[r][i], _mm256_maddubs_epi16(even, _mm256_set1_epi32(q[0])));
        pairs[r][i] = _mm256_add_epi16(pairs[r][i], _mm256_maddubs_epi16(odd, _mm256_set1_epi32(q[1])));
        SETTLE(pairs[r][i]);
      }
    }
  }
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < 2; i++) {
      dots[2 * r + i] = add_pairs(dots[2 * r + i], pairs[r][i]);
    }
  }
}

// A pair of products of 128 and 127 stays in 16 bits, so signs are moved from the quants to the activations, which are
// never -128. Quants that are not centred have six bits at most.
INLINE void add_byte_dots(const int32_t *quants, int stride, const int32_t *x, int x_stride, int rows, int from_word,
                          int to_word, const int centred, __m256i dots[]) {
#pragma clang loop unroll(full)
  for (int w = from_word; w < to_word; w++) {
    const int32_t *at = quants + w * stride;
    _mm_prefetch((const char *)(at + AHEAD_WORDS), _MM_HINT_T0);
#pragma clang loop unroll(full)
    for (int i = 0; i < 2; i++) {
      __m256i words = load_words(at + 8 * i);
      const __m256i quant = centred ? _mm256_xor_si256(words, _mm256_set1_epi8(-128)) : words;
      const __m256i size = centred ? _mm256_abs_epi8(quant) : words;
      for (int r = 0; r < rows; r++) {
        const __m256i q = _mm256_set1_epi32(x[r * x_stride + ORDERED + w]);
        const __m256i moved = centred ? _mm256_sign_epi8(q, quant) : q;
        dots[2 * r + i] = add_pairs(dots[2 * r + i], _mm256_maddubs_epi16(size, moved));
        SETTLE(dots[2 * r + i]);
      }
    }
  }
}

// Integer dot products of one group of columns of a block with `rows` rows.
INLINE void add_dots(const int32_t *quants, int stride, const int32_t *x, int x_stride, int rows, int from_word,
                     int to_word, const int bits, const int centred, __m512i dots[][2]) {
#pragma clang loop unroll(full)
  for (int half = 0; half < 2; half++) {
    __m256i sums[2 * MAX_ROWS_TOGETHER];
    for (int i = 0; i < 2 * rows; i++) {
      sums[i] = _mm256_setzero_si256();
    }
    if (bits == 4) {
      add_nibble_dots(quants + 16 * half, stride, x, x_stride, rows, from_word, to_word, sums);
    } else {
      add_byte_dots(quants + 16 * half, stride, x, x_stride, rows, from_word, to_word, centred, sums);
    }
    for (int r = 0; r < rows; r++) {
      dots[r][half].low = sums[2 * r];
      dots[r][half].high = sums[2 * r + 1];
    }
  }
}

// The same of both blocks of a pair with one row, whose blocks follow each other: lines are read strictly forwards, which
// is what the memory's own prefetching follows.
INLINE void add_pair_dots(const int32_t *quants, const int32_t *x, int from_word, int to_word, const int bits,
                          const int centred, __m512i dots[2][2]) {
  const __m256i nibble = _mm256_set1_epi8(15);
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
      const int32_t *q = x + b * BLOCK_WORDS;
      _mm_prefetch((const char *)(at + AHEAD_WORDS), _MM_HINT_T0);
      _mm_prefetch((const char *)(at + AHEAD_WORDS + LINE_WORDS), _MM_HINT_T0);
#pragma clang loop unroll(full)
      for (int i = 0; i < 4; i++) {
        const __m256i words = load_words(at + 8 * i);
        if (bits == 4) {
          const __m256i even = _mm256_and_si256(words, nibble);
          const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(words, 4), nibble);
          sums[b][i] = _mm256_add_epi16(sums[b][i], _mm256_maddubs_epi16(even, _mm256_set1_epi32(q[2 * w])));
          sums[b][i] = _mm256_add_epi16(sums[b][i], _mm256_maddubs_epi16(odd, _mm256_set1_epi32(q[2 * w + 1])));
          SETTLE(sums[b][i]);
        } else {
          const __m256i own = _mm256_set1_epi32(q[ORDERED + w]);
          const __m256i quant = centred ? _mm256_xor_si256(words, _mm256_set1_epi8(-128)) : words;
          const __m256i size = centred ? _mm256_abs_epi8(quant) : words;
          const __m256i moved = centred ? _mm256_sign_epi8(own, quant) : own;
          sums[b][i] = add_pairs(sums[b][i], _mm256_maddubs_epi16(size, moved));
          SETTLE(sums[b][i]);
        }
      }
    }
  }
#pragma clang loop unroll(full)
  for (int b = 0; b < 2; b++) {
    for (int i = 0; i < 4; i++) {
      sums[b][i] = bits == 4 ? add_pairs(_mm256_setzero_si256(), sums[b][i]) : sums[b][i];
    }
    dots[b][0] = (__m512i){sums[b][0], sums[b][1]};
    dots[b][1] = (__m512i){sums[b][2], sums[b][3]};
  }
}

#endif
