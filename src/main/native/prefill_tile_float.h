// A tile of prefill attention in float32: its memory, and its rows on their way in and out.

#ifndef KVFREEZE_PREFILL_TILE_FLOAT_H
#define KVFREEZE_PREFILL_TILE_FLOAT_H

#include <string.h>

#include "bfloat16.h"
#include "prefill_call.h"
#include "softmax.h"

enum {
  LANES = 16,
  COLUMN_TILES = BLOCK / LANES,
  // Rows, and vectors of columns, that one product keeps in registers; rows whose scores stay in the first cache.
#ifdef __AVX512F__
  PRODUCT_ROWS = 12,
  PRODUCT_VECTORS = 2,
#else
  PRODUCT_ROWS = 6,
  PRODUCT_VECTORS = 1,
#endif
  GROUP_ROWS = 24
};

// A call's tile: its state, kept in the worker's scratch between calls, and its working memory there.
typedef struct {
  const Call *call;
  int head_size, rows;
  int padded;          // rows, up to whole products
  float *maxima;       // [padded]
  float *totals;       // [padded]
  float *queries;      // [padded][head_size]
  float *sums;         // [padded][head_size]
  float *keys;         // [COLUMN_TILES][head_size][LANES]
  float *values;       // [head_size / LANES][BLOCK][LANES]
  float *scores;       // [GROUP_ROWS][BLOCK]
  int32_t *positions;  // [BLOCK]
} Tile;

// Lays a tile out from an aligned address; returns where the state that is kept between calls ends, and the rest.
static void lay_out(Tile *tile, uint8_t *base, uint8_t **state_end, uint8_t **end) {
  uint8_t *at = base;
  tile->padded = (tile->rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS * PRODUCT_ROWS;
  const size_t row_bytes = (size_t)tile->head_size * sizeof(float);
  tile->maxima = (float *)take(&at, tile->padded * sizeof(float));
  tile->totals = (float *)take(&at, tile->padded * sizeof(float));
  tile->queries = (float *)take(&at, tile->padded * row_bytes);
  tile->sums = (float *)take(&at, tile->padded * row_bytes);
  *state_end = at;
  tile->keys = (float *)take(&at, BLOCK * row_bytes);
  tile->values = (float *)take(&at, BLOCK * row_bytes);
  tile->scores = (float *)take(&at, GROUP_ROWS * BLOCK * sizeof(float));
  tile->positions = (int32_t *)take(&at, BLOCK * sizeof(int32_t));
  *end = at;
}

static void begin_tile(Tile *tile, const float *x, int stride, float scale) {
  const int size = tile->head_size, group = tile->call->group;
  memset(tile->queries, 0, (size_t)tile->padded * size * sizeof(float));
  memset(tile->sums, 0, (size_t)tile->padded * size * sizeof(float));
  for (int row = 0; row < tile->rows; row++) {
    const float *from = x + (size_t)(row / group) * stride + row % group * size;
    for (int d = 0; d < size; d++) {
      tile->queries[(size_t)row * size + d] = from[d] * scale;
    }
    tile->maxima[row] = -INFINITY;
    tile->totals[row] = 0;
  }
}

// What makes a row's weights sum to 1; 0 where it has seen nothing.
static float inverse_total(const Tile *tile, int row) { return tile->totals[row] == 0 ? 0 : 1 / tile->totals[row]; }

static void finish_tile(const Tile *tile, float *results) {
  for (int row = 0; row < tile->rows; row++) {
    const float factor = inverse_total(tile, row);
    for (int d = 0; d < tile->head_size; d++) {
      const size_t at = (size_t)row * tile->head_size + d;
      results[at] = tile->sums[at] * factor;
    }
  }
}

// Sixteen columns of keys, [dimension][column]; those that are not there stay what they were: their scores are hidden.
static void copy_keys(const Tile *tile, const uint32_t *from, int column, int count) {
  const int words = tile->head_size / 2;
  const __mmask16 lanes = first_lanes(count);
  float *to = tile->keys + (size_t)(column / LANES) * tile->head_size * LANES + column % LANES;
  for (int word = 0; word < words; word++) {
    const __m512i both = _mm512_maskz_loadu_epi32(lanes, from + (size_t)word * tile->call->page_tokens);
    _mm512_mask_storeu_ps(to + (size_t)word * LANES, lanes, low_half(both));
    _mm512_mask_storeu_ps(to + (size_t)(word + words) * LANES, lanes, high_half(both));
  }
}

// The value of a column; zeros where there is no token.
static void copy_value(const Tile *tile, const uint32_t *from, int column) {
  const int words = tile->head_size / 2;
  for (int word = 0; word < words; word += LANES) {
    const __m512i both = from ? _mm512_loadu_si512(from + word) : _mm512_setzero_si512();
    float *to = tile->values + ((size_t)(word / LANES) * BLOCK + column) * LANES;
    _mm512_storeu_ps(to, low_half(both));
    _mm512_storeu_ps(to + (size_t)(words / LANES) * BLOCK * LANES, high_half(both));
  }
}

// Fills the working memory with a block.
static void load_block(const Tile *tile, uint32_t *const *slabs, int block, int with_values) {
  const Call *call = tile->call;
  const int token_words = tile->head_size / 2;
  for (int column = 0; column < BLOCK;) {
    const int index = page_of(call, block, column);
    const Page *page = index < call->page_count ? call->pages + index : NULL;
    const int token = (block * BLOCK + column) % call->page_tokens;
    const int to_page_end = call->page_tokens - token, to_tile_end = LANES - column % LANES;
    const int width = to_page_end < to_tile_end ? to_page_end : to_tile_end;
    const uint32_t *words = page ? slabs[page->slab] + page->offset : NULL;
    const int left = page ? page->tokens - token : 0;
    if (left > 0) {
      copy_keys(tile, words + token, column, left < width ? left : width);
    }
    for (int i = 0; i < width; i++) {
      const int there = i < left;
      tile->positions[column + i] = there ? page->first_position + token + i : ABSENT;
      if (with_values) {
        const size_t at = (size_t)token_words * (call->page_tokens + token + i);
        copy_value(tile, there ? words + at : NULL, column + i);
      }
    }
    column += width;
  }
}

#endif
