// Keys and values of pages as numbers, whatever the pages are made of.

#ifndef KVFREEZE_PREFILL_WORDS_H
#define KVFREEZE_PREFILL_WORDS_H

#include <stddef.h>

#include "int8_words.h"

// Keys of neighbouring tokens of a page, from the first one's first word on.
typedef struct {
  const uint32_t *words;
  size_t page_tokens;
  int format;
} KeyWords;

// A number of each lane, and the one half a head behind it.
typedef struct {
  __m512 low, high;
} Halves;

// The first quarters of both halves of a head, or their second ones.
INLINE Halves halves_of(__m512i bytes, __m512 scale, int second) {
  return second ? (Halves){_mm512_mul_ps(scale, quarter_of(bytes, 1)), _mm512_mul_ps(scale, quarter_of(bytes, 3))}
                : (Halves){_mm512_mul_ps(scale, quarter_of(bytes, 0)), _mm512_mul_ps(scale, quarter_of(bytes, 2))};
}

// Dimensions j and j + half of keys.
INLINE Halves keys_at(KeyWords keys, int j, int half, __mmask16 lanes) {
  if (keys.format != FORMAT_INT8) {
    const __m512i both = _mm512_maskz_loadu_epi32(lanes, keys.words + j * keys.page_tokens);
    return (Halves){low_half(both), high_half(both)};
  }
  const int quarter = half / 2, second = j >= quarter, word = j - second * quarter, group = group_of(word, quarter);
  const __m512i bytes = _mm512_maskz_loadu_epi32(lanes, keys.words + word * keys.page_tokens);
  const uint32_t *scales = keys.words + (size_t)(quarter + group / 2) * keys.page_tokens;
  return halves_of(bytes, scale_of(_mm512_maskz_loadu_epi32(lanes, scales), group), second);
}

// Sixteen dimensions from j on, and those half a head behind them, of a value; zeros where there is none.
INLINE Halves values_at(const uint32_t *row, int j, int half, int format) {
  if (!row) {
    return (Halves){_mm512_setzero_ps(), _mm512_setzero_ps()};
  }
  if (format != FORMAT_INT8) {
    const __m512i both = _mm512_loadu_si512(row + j);
    return (Halves){low_half(both), high_half(both)};
  }
  const int quarter = half / 2, second = j >= quarter, word = j - second * quarter;
  const __m512 scale = scales_of_words((const int32_t *)row + quarter, groups_from(word, quarter));
  return halves_of(_mm512_loadu_si512(row + word), scale, second);
}

#endif
