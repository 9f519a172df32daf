// The AVX-512 instructions that the kernels use, each as two or a few of AVX2: so one source serves both, and both round
// alike, operation for operation. Masked loads and stores touch no memory outside the mask. vector_names_avx2.h gives them
// the names of AVX-512.

#ifndef KVFREEZE_VECTOR_PAIRS_AVX2_H
#define KVFREEZE_VECTOR_PAIRS_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  __m256 low, high;
} FloatPair;

typedef struct {
  __m256d low, high;
} DoublePair;

typedef struct {
  __m256i low, high;
} IntPair;

#define UNARY(type, name, half) \
  INLINE type pair_##name(type a) { return (type){half(a.low), half(a.high)}; }
#define BINARY(type, name, half) \
  INLINE type pair_##name(type a, type b) { return (type){half(a.low, b.low), half(a.high, b.high)}; }
#define TERNARY(type, name, half) \
  INLINE type pair_##name(type a, type b, type c) { \
    return (type){half(a.low, b.low, c.low), half(a.high, b.high, c.high)}; \
  }
#define SHIFT(name, half) \
  INLINE IntPair pair_##name(IntPair a, int count) { return (IntPair){half(a.low, count), half(a.high, count)}; }

// All bits of the lanes whose bits in a mask of eight are set.
INLINE __m256i lanes_of(unsigned int mask) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)mask), bits), bits);
}

INLINE IntPair pair_lanes(__mmask16 mask) { return (IntPair){lanes_of(mask), lanes_of(mask >> 8)}; }

INLINE FloatPair pair_blend_ps(__mmask16 mask, FloatPair a, FloatPair b) {
  const IntPair lanes = pair_lanes(mask);
  return (FloatPair){_mm256_blendv_ps(a.low, b.low, _mm256_castsi256_ps(lanes.low)),
                     _mm256_blendv_ps(a.high, b.high, _mm256_castsi256_ps(lanes.high))};
}

INLINE IntPair pair_blend_epi32(__mmask16 mask, IntPair a, IntPair b) {
  const IntPair lanes = pair_lanes(mask);
  return (IntPair){_mm256_blendv_epi8(a.low, b.low, lanes.low), _mm256_blendv_epi8(a.high, b.high, lanes.high)};
}

// Floats.

INLINE FloatPair pair_set1_ps(float x) { return (FloatPair){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }

INLINE FloatPair pair_setzero_ps(void) { return (FloatPair){_mm256_setzero_ps(), _mm256_setzero_ps()}; }

INLINE FloatPair pair_set_ps(float p, float o, float n, float m, float l, float k, float j, float i, float h, float g,
                             float f, float e, float d, float c, float b, float a) {
  return (FloatPair){_mm256_set_ps(h, g, f, e, d, c, b, a), _mm256_set_ps(p, o, n, m, l, k, j, i)};
}

INLINE FloatPair pair_loadu_ps(const float *from) {
  return (FloatPair){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
}

INLINE void pair_storeu_ps(float *to, FloatPair x) {
  _mm256_storeu_ps(to, x.low);
  _mm256_storeu_ps(to + 8, x.high);
}

INLINE FloatPair pair_maskz_loadu_ps(__mmask16 mask, const float *from) {
  if (mask == 0xffff) {
    return pair_loadu_ps(from);
  }
  const IntPair lanes = pair_lanes(mask);
  return (FloatPair){_mm256_maskload_ps(from, lanes.low), _mm256_maskload_ps(from + 8, lanes.high)};
}

INLINE FloatPair pair_mask_loadu_ps(FloatPair otherwise, __mmask16 mask, const float *from) {
  return pair_blend_ps(mask, otherwise, pair_maskz_loadu_ps(mask, from));
}

INLINE void pair_mask_storeu_ps(float *to, __mmask16 mask, FloatPair x) {
  if (mask == 0xffff) {
    pair_storeu_ps(to, x);
    return;
  }
  const IntPair lanes = pair_lanes(mask);
  _mm256_maskstore_ps(to, lanes.low, x.low);
  _mm256_maskstore_ps(to + 8, lanes.high, x.high);
}

BINARY(FloatPair, add_ps, _mm256_add_ps)
BINARY(FloatPair, sub_ps, _mm256_sub_ps)
BINARY(FloatPair, mul_ps, _mm256_mul_ps)
BINARY(FloatPair, div_ps, _mm256_div_ps)
BINARY(FloatPair, min_ps, _mm256_min_ps)
BINARY(FloatPair, max_ps, _mm256_max_ps)
BINARY(FloatPair, unpacklo_ps, _mm256_unpacklo_ps)
BINARY(FloatPair, unpackhi_ps, _mm256_unpackhi_ps)
TERNARY(FloatPair, fmadd_ps, _mm256_fmadd_ps)
TERNARY(FloatPair, fmsub_ps, _mm256_fmsub_ps)
TERNARY(FloatPair, fnmadd_ps, _mm256_fnmadd_ps)
UNARY(FloatPair, sqrt_ps, _mm256_sqrt_ps)

INLINE FloatPair pair_mask_sub_ps(FloatPair otherwise, __mmask16 mask, FloatPair a, FloatPair b) {
  return pair_blend_ps(mask, otherwise, pair_sub_ps(a, b));
}

INLINE FloatPair pair_mask_div_ps(FloatPair otherwise, __mmask16 mask, FloatPair a, FloatPair b) {
  return pair_blend_ps(mask, otherwise, pair_div_ps(a, b));
}

INLINE FloatPair pair_abs_ps(FloatPair x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return (FloatPair){_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}

enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };

// To whole numbers, ties to even; the only rounding that is used.
INLINE FloatPair pair_round_ps(FloatPair x) {
  return (FloatPair){_mm256_round_ps(x.low, NEAREST), _mm256_round_ps(x.high, NEAREST)};
}

// 2^n for whole numbers from -126 to 127.
INLINE __m256 power_of_two(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}

// Where n is NaN, so is x.
INLINE FloatPair pair_scalef_ps(FloatPair x, FloatPair n) {
  return (FloatPair){_mm256_mul_ps(x.low, power_of_two(n.low)), _mm256_mul_ps(x.high, power_of_two(n.high))};
}

#define pair_cmp_ps_mask(a, b, how) \
  ((__mmask16)(_mm256_movemask_ps(_mm256_cmp_ps((a).low, (b).low, how)) | \
               _mm256_movemask_ps(_mm256_cmp_ps((a).high, (b).high, how)) << 8))

// In the order in which the compiler adds up a register of 512 bits.
INLINE float pair_reduce_add_ps(FloatPair x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE float pair_reduce_max_ps(FloatPair x) {
  const __m256 eight = _mm256_max_ps(x.low, x.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#define pair_permute_ps(x, order) \
  ((FloatPair){_mm256_permute_ps((x).low, order), _mm256_permute_ps((x).high, order)})

// Lanes of 128 bits: 0x88 takes the even ones of a and then of b, 0xdd the odd ones.
INLINE FloatPair pair_shuffle_f32x4(FloatPair a, FloatPair b, const int order) {
  return order == 0x88 ? (FloatPair){_mm256_permute2f128_ps(a.low, a.high, 0x20),
                                     _mm256_permute2f128_ps(b.low, b.high, 0x20)}
                       : (FloatPair){_mm256_permute2f128_ps(a.low, a.high, 0x31),
                                     _mm256_permute2f128_ps(b.low, b.high, 0x31)};
}

// The indices are below 8: the source is half a register.
INLINE FloatPair pair_permutexvar_ps(IntPair order, FloatPair x) {
  return (FloatPair){_mm256_permutevar8x32_ps(x.low, order.low), _mm256_permutevar8x32_ps(x.low, order.high)};
}

INLINE FloatPair pair_castps256_ps512(__m256 x) { return (FloatPair){x, x}; }

INLINE __m256 pair_castps512_ps256(FloatPair x) { return x.low; }

INLINE __m256 pair_extractf32x8_ps(FloatPair x, const int half) { return half ? x.high : x.low; }

INLINE FloatPair pair_insertf32x8(FloatPair x, __m256 half, const int at) {
  return at ? (FloatPair){x.low, half} : (FloatPair){half, x.high};
}

INLINE IntPair pair_castps_si512(FloatPair x) {
  return (IntPair){_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)};
}

INLINE FloatPair pair_castsi512_ps(IntPair x) {
  return (FloatPair){_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)};
}

INLINE FloatPair pair_mask_i32gather_ps(FloatPair otherwise, __mmask16 mask, IntPair index, const float *from,
                                        const int scale) {
  const IntPair lanes = pair_lanes(mask);
  return (FloatPair){
      _mm256_mask_i32gather_ps(otherwise.low, from, index.low, _mm256_castsi256_ps(lanes.low), 4),
      _mm256_mask_i32gather_ps(otherwise.high, from, index.high, _mm256_castsi256_ps(lanes.high), 4)};
}

INLINE __m256 half_maskz_loadu_ps(__mmask8 mask, const float *from) { return _mm256_maskload_ps(from, lanes_of(mask)); }

// Doubles.

INLINE DoublePair pair_set1_pd(double x) { return (DoublePair){_mm256_set1_pd(x), _mm256_set1_pd(x)}; }

BINARY(DoublePair, mul_pd, _mm256_mul_pd)
BINARY(DoublePair, min_pd, _mm256_min_pd)
BINARY(DoublePair, unpacklo_pd, _mm256_unpacklo_pd)
BINARY(DoublePair, unpackhi_pd, _mm256_unpackhi_pd)
UNARY(DoublePair, sqrt_pd, _mm256_sqrt_pd)

INLINE DoublePair pair_castps_pd(FloatPair x) {
  return (DoublePair){_mm256_castps_pd(x.low), _mm256_castps_pd(x.high)};
}

INLINE FloatPair pair_castpd_ps(DoublePair x) {
  return (FloatPair){_mm256_castpd_ps(x.low), _mm256_castpd_ps(x.high)};
}

INLINE DoublePair pair_cvtps_pd(__m256 x) {
  return (DoublePair){_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}

INLINE __m256 pair_cvtpd_ps(DoublePair x) { return _mm256_set_m128(_mm256_cvtpd_ps(x.high), _mm256_cvtpd_ps(x.low)); }

// Integers.

INLINE IntPair pair_set1_epi32(int x) { return (IntPair){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }

INLINE IntPair pair_setzero_si512(void) { return (IntPair){_mm256_setzero_si256(), _mm256_setzero_si256()}; }

INLINE IntPair pair_setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l,
                               int m, int n, int o, int p) {
  return (IntPair){_mm256_setr_epi32(a, b, c, d, e, f, g, h), _mm256_setr_epi32(i, j, k, l, m, n, o, p)};
}

INLINE IntPair pair_loadu_si512(const void *from) {
  return (IntPair){_mm256_loadu_si256((const __m256i *)from), _mm256_loadu_si256((const __m256i *)from + 1)};
}

INLINE void pair_storeu_si512(void *to, IntPair x) {
  _mm256_storeu_si256((__m256i *)to, x.low);
  _mm256_storeu_si256((__m256i *)to + 1, x.high);
}

INLINE IntPair pair_maskz_loadu_epi32(__mmask16 mask, const void *from) {
  return pair_castps_si512(pair_maskz_loadu_ps(mask, (const float *)from));
}

INLINE void pair_mask_storeu_epi32(void *to, __mmask16 mask, IntPair x) {
  pair_mask_storeu_ps((float *)to, mask, pair_castsi512_ps(x));
}

BINARY(IntPair, add_epi32, _mm256_add_epi32)
BINARY(IntPair, sub_epi32, _mm256_sub_epi32)
BINARY(IntPair, sub_epi16, _mm256_sub_epi16)
BINARY(IntPair, mullo_epi32, _mm256_mullo_epi32)
BINARY(IntPair, and_si512, _mm256_and_si256)
BINARY(IntPair, or_si512, _mm256_or_si256)
BINARY(IntPair, xor_si512, _mm256_xor_si256)
BINARY(IntPair, sllv_epi32, _mm256_sllv_epi32)
BINARY(IntPair, srlv_epi32, _mm256_srlv_epi32)
SHIFT(slli_epi32, _mm256_slli_epi32)
SHIFT(srli_epi32, _mm256_srli_epi32)
SHIFT(srai_epi32, _mm256_srai_epi32)

INLINE IntPair pair_mask_or_epi32(IntPair otherwise, __mmask16 mask, IntPair a, IntPair b) {
  return pair_blend_epi32(mask, otherwise, pair_or_si512(a, b));
}

INLINE IntPair pair_mask_set1_epi32(IntPair otherwise, __mmask16 mask, int x) {
  return pair_blend_epi32(mask, otherwise, pair_set1_epi32(x));
}

INLINE IntPair pair_maskz_set1_epi32(__mmask16 mask, int x) {
  return pair_and_si512(pair_lanes(mask), pair_set1_epi32(x));
}

// In every other 16 bits those of b, the upper ones of each word: the only mask that is used.
INLINE IntPair pair_mask_blend_epi16(__mmask32 mask, IntPair a, IntPair b) {
  return (IntPair){_mm256_blend_epi16(a.low, b.low, 0xaa), _mm256_blend_epi16(a.high, b.high, 0xaa)};
}

INLINE FloatPair pair_cvtepi32_ps(IntPair x) {
  return (FloatPair){_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)};
}

INLINE IntPair pair_cvtps_epi32(FloatPair x) {
  return (IntPair){_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)};
}

INLINE IntPair pair_cvttps_epi32(FloatPair x) {
  return (IntPair){_mm256_cvttps_epi32(x.low), _mm256_cvttps_epi32(x.high)};
}

INLINE IntPair pair_cvtepu16_epi32(__m256i x) {
  return (IntPair){_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)),
                   _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1))};
}

// The low bytes of eight words, in the low half of the result.
INLINE __m128i low_bytes(__m256i x) {
  const __m256i picked = _mm256_shuffle_epi8(
      x, _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                          0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
  return _mm_unpacklo_epi32(_mm256_castsi256_si128(picked), _mm256_extracti128_si256(picked, 1));
}

INLINE __m128i pair_cvtepi32_epi8(IntPair x) { return _mm_unpacklo_epi64(low_bytes(x.low), low_bytes(x.high)); }

INLINE void pair_mask_cvtepi32_storeu_epi16(void *to, __mmask16 mask, IntPair x) {
  int32_t words[16];
  pair_storeu_si512(words, x);
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) {
      ((int16_t *)to)[i] = (int16_t)words[i];
    }
  }
}

INLINE void pair_mask_i32scatter_epi32(void *to, __mmask16 mask, IntPair index, IntPair x, const int scale) {
  int32_t words[16], places[16];
  pair_storeu_si512(words, x);
  pair_storeu_si512(places, index);
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) {
      ((int32_t *)to)[places[i]] = words[i];
    }
  }
}

INLINE int pair_reduce_add_epi32(IntPair x) {
  int32_t words[8];
  int sum = 0;
  _mm256_storeu_si256((__m256i *)words, _mm256_add_epi32(x.low, x.high));
  for (int i = 0; i < 8; i++) {
    sum += words[i];
  }
  return sum;
}

INLINE IntPair pair_permutexvar_epi8(IntPair order, IntPair x) {
  uint8_t from[64], places[64], to[64];
  pair_storeu_si512(from, x);
  pair_storeu_si512(places, order);
  for (int i = 0; i < 64; i++) {
    to[i] = from[places[i] & 63];
  }
  return pair_loadu_si512(to);
}

// Of unsigned bytes up to 128, whose products with signed ones do not saturate.
INLINE __m256i add_byte_products(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}

TERNARY(IntPair, dpbusd_epi32, add_byte_products)

INLINE __m256i add_short_products(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

TERNARY(IntPair, dpwssd_epi32, add_short_products)

BINARY(IntPair, max_epi32, _mm256_max_epi32)

INLINE int pair_reduce_max_epi32(IntPair x) {
  const __m256i eight = _mm256_max_epi32(x.low, x.high);
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

// The low halves of eight words.
INLINE __m128i low_shorts(__m256i x) {
  const __m256i picked = _mm256_shuffle_epi8(
      x, _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1,  //
                          0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(picked, 0x08));
}

INLINE __m256i pair_cvtepi32_epi16(IntPair x) { return _mm256_set_m128i(low_shorts(x.high), low_shorts(x.low)); }

INLINE FloatPair pair_cvtph_ps(__m256i x) {
  return (FloatPair){_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))};
}

INLINE __mmask16 low_mask16(uint32_t mask) { return (__mmask16)mask; }

INLINE __mmask16 or_masks(__mmask16 a, __mmask16 b) { return a | b; }

#undef UNARY
#undef BINARY
#undef TERNARY
#undef SHIFT

#endif
