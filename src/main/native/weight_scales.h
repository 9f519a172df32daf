// The scales of quantised weights.

#ifndef KVFREEZE_WEIGHT_SCALES_H
#define KVFREEZE_WEIGHT_SCALES_H

#include "weights.h"

// Scale and minimum of the 32 rows in one group of columns: value = quant * scale + minimum.
typedef struct {
  __m512 scale[2];
  __m512 minimum[2];
} Scales;

INLINE __m512 halves_low(__m512i words) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)); }

INLINE __m512 halves_high(__m512i words) { return halves_low(_mm512_srli_epi32(words, 16)); }

INLINE Scales load_scales(const Weight *weight, const int32_t *at, int group) {
  Scales s;
  const __m512 zero = _mm512_set1_ps((float)-weight->zero_point);
  switch (weight->kind) {
    case HALF_PAIR:
      for (int i = 0; i < 2; i++) {
        const __m512i pair = _mm512_loadu_si512(at + 16 * i);
        s.scale[i] = halves_low(pair);
        s.minimum[i] = halves_high(pair);
      }
      break;
    case HALF: {
      const __m512i pair = _mm512_loadu_si512(at);
      s.scale[0] = halves_low(pair);
      s.scale[1] = halves_high(pair);
      s.minimum[0] = _mm512_mul_ps(zero, s.scale[0]);
      s.minimum[1] = _mm512_mul_ps(zero, s.scale[1]);
      break;
    }
    case FLOAT_PAIR:
      for (int i = 0; i < 2; i++) {
        s.scale[i] = _mm512_loadu_ps((const float *)at + 16 * i);
        s.minimum[i] = _mm512_loadu_ps((const float *)at + TILE_ROWS + 16 * i);
      }
      break;
    default:
      for (int i = 0; i < 2; i++) {
        s.scale[i] = _mm512_loadu_ps((const float *)at + group * TILE_ROWS + 16 * i);
        s.minimum[i] = _mm512_mul_ps(zero, s.scale[i]);
      }
  }
  return s;
}

#endif
