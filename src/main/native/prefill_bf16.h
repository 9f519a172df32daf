// What the products of prefill attention are made of with AVX-512's bfloat16: whole numbers of 16 bits for queries and
// keys, bfloat16 for weights and values; either way two products and a sum an instruction.
//
// A query and a key are each scaled by their lengths, so that no sum of their products leaves 32 bits (Cauchy and Schwarz):
// a score is off by about 2^-16 of what it could be at most. The weights' total is that of the rounded ones.

#ifndef KVFREEZE_PREFILL_BF16_H
#define KVFREEZE_PREFILL_BF16_H

#include <math.h>
#include <string.h>

#include "prefill_call.h"
#include "prefill_product.h"
#include "prefill_words.h"
#include "softmax.h"

// Lengths of queries and of keys in whole numbers: with what rounding adds to them, their product is below 2^31.
#define QUERY_LENGTH 65500.0f
#define KEY_LENGTH 32760.0f
#define LARGEST_SHORT 32767.0f

typedef struct {
  int head_size;
  int32_t *queries;     // [padded rows][head_size / 2]: dimension j and j + head_size / 2 in a word, as in the pages
  float *query_scales;  // [padded rows]
  int32_t *keys;        // [BLOCK / LANES][head_size / 2][LANES]
  float *key_scales;    // [BLOCK]
  int32_t *values;      // [head_size / LANES][BLOCK / 2][LANES]: two neighbouring columns in a word
} Operands;

static void lay_out_queries(Operands *o, size_t rows, uint8_t **at) {
  o->queries = (int32_t *)take(at, rows * o->head_size / 2 * sizeof(int32_t));
  o->query_scales = (float *)take(at, rows * sizeof(float));
}

static void lay_out_block(Operands *o, uint8_t **at) {
  o->keys = (int32_t *)take(at, (size_t)BLOCK * o->head_size / 2 * sizeof(int32_t));
  o->key_scales = (float *)take(at, BLOCK * sizeof(float));
  o->values = (int32_t *)take(at, (size_t)BLOCK * o->head_size / 2 * sizeof(int32_t));
}

// Words of two whole numbers.
INLINE __m512i paired_shorts(__m512 low, __m512 high) {
  const __m512i upper = _mm512_slli_epi32(_mm512_cvtps_epi32(high), 16);
  return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_cvtps_epi32(low), upper);
}

// Below the smallest normal number a quotient would overflow; such a vector is zeros for every purpose.
static float stretch(float length, float wanted) { return length < 0x1p-100f ? 0 : wanted / length; }

static void pack_query(const Operands *o, int row, const float *x, float scale) {
  const int half = o->head_size / 2;
  __m512 squares = _mm512_setzero_ps(), largest = _mm512_setzero_ps();
  for (int d = 0; d < o->head_size; d += LANES) {
    const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(x + d), _mm512_set1_ps(scale));
    squares = _mm512_fmadd_ps(value, value, squares);
    largest = _mm512_max_ps(largest, _mm512_abs_ps(value));
  }
  // A number that is not finite makes the length so, and through it the scale and the scores.
  const float length = sqrtf(_mm512_reduce_add_ps(squares));
  const float factor = fminf(stretch(length, QUERY_LENGTH), stretch(_mm512_reduce_max_ps(largest), LARGEST_SHORT));
  const __m512 factors = _mm512_set1_ps(scale * factor);
  for (int d = 0; d < half; d += LANES) {
    const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(x + d), factors);
    const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(x + half + d), factors);
    _mm512_storeu_si512(o->queries + (size_t)row * half + d, paired_shorts(low, high));
  }
  o->query_scales[row] = factor > 0 ? 1 / factor : length;
}

static void clear_query(const Operands *o, int row) {
  memset(o->queries + (size_t)row * o->head_size / 2, 0, o->head_size / 2 * sizeof(int32_t));
  o->query_scales[row] = 0;
}

// Up to sixteen columns of keys of one column tile, [word][column]; those that are not there stay what they were: their
// scores are hidden.
static void pack_keys(const Operands *o, KeyWords from, int column, int count) {
  const int words = o->head_size / 2;
  const __mmask16 lanes = first_lanes(count);
  __m512 squares = _mm512_setzero_ps();
  for (int word = 0; word < words; word++) {
    const Halves key = keys_at(from, word, words, lanes);
    squares = _mm512_fmadd_ps(key.low, key.low, squares);
    squares = _mm512_fmadd_ps(key.high, key.high, squares);
  }
  const __m512 length = _mm512_sqrt_ps(squares);
  const __mmask16 tiny = _mm512_cmp_ps_mask(length, _mm512_set1_ps(0x1p-100f), _CMP_LT_OQ);
  const __m512 factor = _mm512_mask_div_ps(_mm512_setzero_ps(), (__mmask16)~tiny, _mm512_set1_ps(KEY_LENGTH), length);
  int32_t *to = o->keys + (size_t)(column / LANES) * words * LANES + column % LANES;
  for (int word = 0; word < words; word++) {
    const Halves key = keys_at(from, word, words, lanes);
    const __m512i numbers = paired_shorts(_mm512_mul_ps(key.low, factor), _mm512_mul_ps(key.high, factor));
    _mm512_mask_storeu_epi32(to + (size_t)word * LANES, lanes, numbers);
  }
  _mm512_mask_storeu_ps(o->key_scales + column, lanes, _mm512_mul_ps(length, _mm512_set1_ps(1 / KEY_LENGTH)));
}

// The values of a block's columns; zeros where there is no token.
static void pack_values(const Operands *o, const uint32_t *const *rows, int format) {
  const int words = o->head_size / 2;
  const size_t half = (size_t)words / LANES * (BLOCK / 2) * LANES;
  for (int pair = 0; pair < BLOCK / 2; pair++) {
    const uint32_t *even = rows[2 * pair], *odd = rows[2 * pair + 1];
    for (int word = 0; word < words; word += LANES) {
      int32_t *to = o->values + ((size_t)(word / LANES) * (BLOCK / 2) + pair) * LANES;
      if (format == FORMAT_INT8) {
        const Halves a = values_at(even, word, words, format), b = values_at(odd, word, words, format);
        _mm512_storeu_si512(to, bfloat_pair(a.low, b.low));
        _mm512_storeu_si512(to + half, bfloat_pair(a.high, b.high));
        continue;
      }
      const __m512i a = even ? _mm512_loadu_si512(even + word) : _mm512_setzero_si512();
      const __m512i b = odd ? _mm512_loadu_si512(odd + word) : _mm512_setzero_si512();
      _mm512_storeu_si512(to, _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16)));
      _mm512_storeu_si512(to + half, _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(a, 16), b));
    }
  }
}

INLINE __m512 add_bf16_products(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

PRODUCT(multiply_shorts, int32_t, __m512i, __m512i, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_dpwssd_epi32)
PRODUCT(multiply_bf16, int32_t, __m512, __m512i, _mm512_loadu_si512, _mm512_set1_epi32, add_bf16_products)

// Scores of the rows and column tiles of a product.
static void score(const Operands *o, int row, int column_tile, float *scores) {
  const size_t words = o->head_size / 2;
  __m512i sums[PRODUCT_ROWS][PRODUCT_VECTORS];
  EACH_ROW(r) {
    EACH_VECTOR(v) {
      sums[r][v] = _mm512_setzero_si512();
    }
  }
  multiply_shorts(o->queries + row * words, words, o->keys + column_tile * words * LANES, words * LANES, words, sums);
  EACH_VECTOR(v) {
    const __m512 key_scales = _mm512_loadu_ps(o->key_scales + (column_tile + v) * LANES);
    EACH_ROW(r) {
      const __m512 scales = _mm512_mul_ps(key_scales, _mm512_set1_ps(o->query_scales[row + r]));
      _mm512_storeu_ps(scores + r * BLOCK + v * LANES, _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][v]), scales));
    }
  }
}

// Adds the values of columns [from, to) times the weights in the place of the scores to some of the rows' dimensions.
static void weigh(const Operands *o, const float *weights, int from, int to, int dimension, float *sums) {
  __m512 s[PRODUCT_ROWS][PRODUCT_VECTORS];
  load_sums(sums, o->head_size, s);
  const int32_t *values = o->values + ((size_t)dimension * BLOCK + from * LANES) / 2;
  multiply_bf16((const int32_t *)weights + from / 2, BLOCK, values, BLOCK / 2 * LANES, (to - from) / 2, s);
  store_sums(s, sums, o->head_size);
}

// exp(score - max) in the place of a row's scores, two columns to a word: column t in word t / 2. Returns their sum.
static float soften(float *scores, int from, int to, float max, __m512 at_limit) {
  const __m512 top = _mm512_set1_ps(max);
  const __m512i ones = _mm512_set1_epi32(0x3f803f80);
  __m512 sum = _mm512_setzero_ps();
  for (int t = from; t < to; t += 2 * LANES) {
    const __m512 low = exp_negative(_mm512_sub_ps(_mm512_loadu_ps(scores + t), top), at_limit);
    const __m512 high = exp_negative(_mm512_sub_ps(_mm512_loadu_ps(scores + t + LANES), top), at_limit);
    const __m512i weights = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    _mm512_storeu_si512((int32_t *)scores + t / 2, weights);
    sum = add_bf16_products(sum, weights, ones);
  }
  return _mm512_reduce_add_ps(sum);
}

#endif
