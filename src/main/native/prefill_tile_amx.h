// A tile of prefill attention: its shape, its memory, and its rows on their way in and out.

#ifndef KVFREEZE_PREFILL_TILE_AMX_H
#define KVFREEZE_PREFILL_TILE_AMX_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "prefill_call.h"

enum {
  LANES = 16,       // floats of a register; rows, and 32-bit columns, of a matrix tile
  TILE = 256,       // 32-bit words of a matrix tile
  TILE_BYTES = 1024,
  PARTS = 2,        // of a query
  STEP = 32,        // columns of one product with the values: pairs of tokens fill a tile
  STEPS = BLOCK / STEP,
  COLUMN_TILES = BLOCK / LANES,
  GROUP = 4,        // column tiles scored, or value tiles summed, together: so many sums hide a product's latency
  GROUP_STEPS = GROUP * LANES / STEP,
};

// A call's tile: its state, kept in the worker's scratch between calls, and its working memory there.
typedef struct {
  const Call *call;
  int head_size, rows, row_tiles;
  int key_steps;        // matrix tiles along a key
  int value_tiles;      // along a value, and one more for the totals of the weights: sums of ones
  float *maxima;        // [row_tiles * 16]
  uint32_t *queries;    // [row_tiles][key_steps][PARTS][TILE]
  float *sums;          // [row_tiles][value_tiles][TILE]
  uint32_t *keys;       // [COLUMN_TILES][key_steps][TILE]
  uint32_t *values;     // [value_tiles][STEPS][TILE]
  float *scores[2];     // [COLUMN_TILES][TILE]
  uint32_t *weights[2]; // [STEPS][TILE]
  int32_t *positions;   // [BLOCK]
} Tile;

// What of a block a row tile sees: columns from * STEP to to * STEP, all of them or (masked) some.
typedef struct {
  int from, to, masked;
} Span;

// Lays a tile out from an aligned address; returns where the state that is kept between calls ends, and the rest.
static void lay_out(Tile *tile, int head_size, uint8_t *base, uint8_t **state_end, uint8_t **end) {
  uint8_t *at = base;
  tile->head_size = head_size;
  tile->row_tiles = (tile->rows + LANES - 1) / LANES;
  tile->key_steps = tile->head_size / STEP;
  tile->value_tiles = tile->head_size / LANES + 1;
  const size_t row_tiles = tile->row_tiles;
  tile->maxima = (float *)take(&at, row_tiles * LANES * sizeof(float));
  tile->queries = (uint32_t *)take(&at, row_tiles * tile->key_steps * PARTS * TILE_BYTES);
  tile->sums = (float *)take(&at, row_tiles * tile->value_tiles * TILE_BYTES);
  *state_end = at;
  tile->keys = (uint32_t *)take(&at, (size_t)COLUMN_TILES * tile->key_steps * TILE_BYTES);
  tile->values = (uint32_t *)take(&at, (size_t)tile->value_tiles * STEPS * TILE_BYTES);
  for (int i = 0; i < 2; i++) {
    tile->scores[i] = (float *)take(&at, COLUMN_TILES * TILE_BYTES);
    tile->weights[i] = (uint32_t *)take(&at, STEPS * TILE_BYTES);
  }
  tile->positions = (int32_t *)take(&at, BLOCK * sizeof(int32_t));
  *end = at;
}

static __m512i widened(__m256bh x) {
  return _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)x), 16);
}

// Words of (dimension j, dimension j + half) as in the pages: the pairs that a product sums over.
static __m512i paired(__m512i low, __m512i high) {
  return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
}

// Rounds a row's query, and what rounding left (a second bfloat16, so that scores are nearly those of float32).
static void pack_query(Tile *tile, int row, const float *x, float scale) {
  const int half = tile->head_size / 2;
  uint32_t *to = tile->queries + (size_t)(row / LANES) * tile->key_steps * PARTS * TILE + row % LANES * LANES;
  for (int step = 0; step < tile->key_steps; step++) {
    __m512 low = _mm512_mul_ps(_mm512_loadu_ps(x + step * LANES), _mm512_set1_ps(scale));
    __m512 high = _mm512_mul_ps(_mm512_loadu_ps(x + half + step * LANES), _mm512_set1_ps(scale));
    for (int part = 0; part < PARTS; part++) {
      const __m512i rounded_low = widened(_mm512_cvtneps_pbh(low));
      const __m512i rounded_high = widened(_mm512_cvtneps_pbh(high));
      _mm512_store_si512(to, paired(rounded_low, rounded_high));
      low = _mm512_sub_ps(low, _mm512_castsi512_ps(rounded_low));
      high = _mm512_sub_ps(high, _mm512_castsi512_ps(rounded_high));
      to += TILE;
    }
  }
}

static float *sums_of(const Tile *tile, int row) {
  return tile->sums + (size_t)(row / LANES) * tile->value_tiles * TILE + row % LANES * LANES;
}

static void begin_tile(Tile *tile, const float *x, int stride, float scale) {
  memset(tile->queries, 0, (size_t)tile->row_tiles * tile->key_steps * PARTS * TILE_BYTES);
  memset(tile->sums, 0, (size_t)tile->row_tiles * tile->value_tiles * TILE_BYTES);
  for (int row = 0; row < tile->rows; row++) {
    const int group = tile->call->group;
    pack_query(tile, row, x + (size_t)(row / group) * stride + row % group * tile->head_size, scale);
    tile->maxima[row] = -__builtin_inff();
  }
}

static void finish_tile(const Tile *tile, float *results) {
  for (int row = 0; row < tile->rows; row++) {
    const float *sums = sums_of(tile, row);
    const float total = sums[(tile->value_tiles - 1) * TILE];
    const __m512 factor = _mm512_set1_ps(total == 0 ? 0 : 1 / total);
    float *to = results + (size_t)row * tile->head_size;
    for (int d = 0; d < tile->value_tiles - 1; d++) {
      _mm512_storeu_ps(to + d * LANES, _mm512_mul_ps(_mm512_load_ps(sums + d * TILE), factor));
    }
  }
}

#endif
