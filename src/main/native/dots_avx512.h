// Integer dot products of rounded activations with quants, by VNNI.

#ifndef KVFREEZE_DOTS_AVX512_H
#define KVFREEZE_DOTS_AVX512_H

#include "rounded_rows.h"

// What a block's sums begin with: a centred quant is stored 128 too large.
INLINE __m512i first_dots(const int centred, int32_t sum) { return _mm512_set1_epi32(centred ? -128 * sum : 0); }

// Integer dot products of one group of columns of a block with `rows` rows, begun at `shift` of each.
INLINE void add_dots(const int32_t *quants, int stride, const int32_t *x, int x_stride, int rows, int from_word,
                     int to_word, const int bits, const int centred, __m512i dots[][2]) {
  const __m512i nibble = _mm512_set1_epi8(15);
  for (int w = from_word; w < to_word; w++) {
    for (int i = 0; i < 2; i++) {
      const int32_t *at = quants + w * stride + 16 * i;
      ask_ahead(at);
      const __m512i words = _mm512_loadu_si512(at);
      if (bits == 4) {
        const __m512i even = _mm512_and_si512(words, nibble);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(words, 4), nibble);
        for (int r = 0; r < rows; r++) {
          const int32_t *q = x + r * x_stride + 2 * w;
          dots[r][i] = _mm512_dpbusd_epi32(dots[r][i], even, _mm512_set1_epi32(q[0]));
          dots[r][i] = _mm512_dpbusd_epi32(dots[r][i], odd, _mm512_set1_epi32(q[1]));
        }
      } else {
        for (int r = 0; r < rows; r++) {
          const int32_t *q = x + r * x_stride + ORDERED + w;
          dots[r][i] = _mm512_dpbusd_epi32(dots[r][i], words, _mm512_set1_epi32(*q));
        }
      }
    }
  }
}

// The same of both blocks of a pair with one row, whose blocks follow each other: lines are read strictly forwards, which
// is what the memory's own prefetching follows.
INLINE void add_pair_dots(const int32_t *quants, const int32_t *x, int from_word, int to_word, const int bits,
                          const int centred, __m512i dots[2][2]) {
  const __m512i nibble = _mm512_set1_epi8(15);
#pragma clang loop unroll(full)
  for (int w = from_word; w < to_word; w++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
      const int32_t *at = quants + 2 * w * TILE_ROWS + i * LINE_WORDS;
      const int32_t *q = x + i / 2 * BLOCK_WORDS;
      ask_ahead(at);
      const __m512i words = _mm512_loadu_si512(at);
      __m512i *dot = &dots[i / 2][i % 2];
      if (bits == 4) {
        const __m512i even = _mm512_and_si512(words, nibble);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(words, 4), nibble);
        *dot = _mm512_dpbusd_epi32(*dot, even, _mm512_set1_epi32(q[2 * w]));
        *dot = _mm512_dpbusd_epi32(*dot, odd, _mm512_set1_epi32(q[2 * w + 1]));
      } else {
        *dot = _mm512_dpbusd_epi32(*dot, words, _mm512_set1_epi32(q[ORDERED + w]));
      }
    }
  }
}

#endif
