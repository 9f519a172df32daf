// Bfloat16 numbers, two to a word.

#ifndef KVFREEZE_BFLOAT16_H
#define KVFREEZE_BFLOAT16_H

#include "vectors.h"

INLINE __m512 low_half(__m512i w) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}

INLINE __m512 high_half(__m512i w) {
  return _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int)0xffff0000)));
}

// The 16 bits of the nearest bfloat16, ties to even, in the low halves; NaN stays NaN.
INLINE __m512i bfloat_bits(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i high = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(_mm512_srli_epi32(up, 16), nan, high, _mm512_set1_epi32(0x7fc0));
}

// Words of two of them.
INLINE __m512i bfloat_pair(__m512 low, __m512 high) {
  return _mm512_or_si512(bfloat_bits(low), _mm512_slli_epi32(bfloat_bits(high), 16));
}

#endif
