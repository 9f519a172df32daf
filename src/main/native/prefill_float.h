// What the products of prefill attention are made of: float32 throughout.

#ifndef KVFREEZE_PREFILL_FLOAT_H
#define KVFREEZE_PREFILL_FLOAT_H

#include <string.h>

#include "prefill_call.h"
#include "prefill_product.h"
#include "prefill_words.h"
#include "softmax.h"

typedef struct {
  int head_size;
  float *queries;  // [padded rows][head_size]
  float *keys;     // [BLOCK / LANES][head_size][LANES]
  float *values;   // [head_size / LANES][BLOCK][LANES]
} Operands;

static void lay_out_queries(Operands *o, size_t rows, uint8_t **at) {
  o->queries = (float *)take(at, rows * o->head_size * sizeof(float));
}

static void lay_out_block(Operands *o, uint8_t **at) {
  o->keys = (float *)take(at, (size_t)BLOCK * o->head_size * sizeof(float));
  o->values = (float *)take(at, (size_t)BLOCK * o->head_size * sizeof(float));
}

static void pack_query(const Operands *o, int row, const float *x, float scale) {
  for (int d = 0; d < o->head_size; d++) {
    o->queries[(size_t)row * o->head_size + d] = x[d] * scale;
  }
}

static void clear_query(const Operands *o, int row) {
  memset(o->queries + (size_t)row * o->head_size, 0, o->head_size * sizeof(float));
}

// Up to sixteen columns of keys of one column tile, [dimension][column]; those that are not there stay what they were:
// their scores are hidden.
static void pack_keys(const Operands *o, KeyWords from, int column, int count) {
  const int words = o->head_size / 2;
  const __mmask16 lanes = first_lanes(count);
  float *to = o->keys + (size_t)(column / LANES) * o->head_size * LANES + column % LANES;
  for (int word = 0; word < words; word++) {
    const Halves key = keys_at(from, word, words, lanes);
    _mm512_mask_storeu_ps(to + (size_t)word * LANES, lanes, key.low);
    _mm512_mask_storeu_ps(to + (size_t)(word + words) * LANES, lanes, key.high);
  }
}

// The values of a block's columns; zeros where there is no token.
static void pack_values(const Operands *o, const uint32_t *const *rows, int format) {
  const int words = o->head_size / 2;
  for (int column = 0; column < BLOCK; column++) {
    for (int word = 0; word < words; word += LANES) {
      const Halves value = values_at(rows[column], word, words, format);
      float *to = o->values + ((size_t)(word / LANES) * BLOCK + column) * LANES;
      _mm512_storeu_ps(to, value.low);
      _mm512_storeu_ps(to + (size_t)(words / LANES) * BLOCK * LANES, value.high);
    }
  }
}

INLINE __m512 add_product(__m512 sum, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, sum); }

PRODUCT(multiply, float, __m512, __m512, _mm512_loadu_ps, _mm512_set1_ps, add_product)

// Scores of the rows and column tiles of a product.
static void score(const Operands *o, int row, int column_tile, float *scores) {
  const size_t size = o->head_size;
  __m512 sums[PRODUCT_ROWS][PRODUCT_VECTORS];
  EACH_ROW(r) {
    EACH_VECTOR(v) {
      sums[r][v] = _mm512_setzero_ps();
    }
  }
  multiply(o->queries + row * size, size, o->keys + column_tile * size * LANES, size * LANES, size, sums);
  store_sums(sums, scores, BLOCK);
}

// Adds the values of columns [from, to) times the weights in the place of the scores to some of the rows' dimensions.
static void weigh(const Operands *o, const float *weights, int from, int to, int dimension, float *sums) {
  __m512 s[PRODUCT_ROWS][PRODUCT_VECTORS];
  load_sums(sums, o->head_size, s);
  const float *values = o->values + (size_t)dimension * BLOCK + from * LANES;
  multiply(weights + from, BLOCK, values, BLOCK * LANES, to - from, s);
  store_sums(s, sums, o->head_size);
}

// exp(score - max) in the place of a row's scores; returns the sum.
static float soften(float *scores, int from, int to, float max, __m512 at_limit) {
  const __m512 top = _mm512_set1_ps(max);
  __m512 sum = _mm512_setzero_ps();
  for (int t = from; t < to; t += LANES) {
    const __m512 weight = exp_negative(_mm512_sub_ps(_mm512_loadu_ps(scores + t), top), at_limit);
    _mm512_storeu_ps(scores + t, weight);
    sum = _mm512_add_ps(sum, weight);
  }
  return _mm512_reduce_add_ps(sum);
}

#endif
