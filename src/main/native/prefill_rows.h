// A tile of prefill attention whose scores, softmax and sums are float32, whatever its products are made of: the source
// that includes this has Operands with the functions of prefill_float.h.
//
// A tile is some neighbouring rows of a sequence times the query heads of one KV head, its product rows ordered by row
// and then head. Blocks are counted in the page list from its first page, each page taking its page_tokens columns
// whether they hold tokens or not. So what a row adds in which order follows from the page list alone, and its result
// does not depend on the tile that it falls into: where another row sees more of a block, it adds zeros.

#ifndef KVFREEZE_PREFILL_ROWS_H
#define KVFREEZE_PREFILL_ROWS_H

#include "prefill_call.h"
#include "prefill_product.h"
#include "softmax.h"

enum {
  COLUMN_TILES = BLOCK / LANES,
  // Rows whose scores stay in the first cache.
  GROUP_ROWS = 24
};

// A call's tile: its state, kept in the worker's scratch between calls, and its working memory there.
typedef struct {
  const Call *call;
  int rows;
  int padded;          // rows, up to whole products
  float *maxima;       // [padded]
  float *totals;       // [padded]
  float *sums;         // [padded][head_size]
  float *scores;       // [GROUP_ROWS][BLOCK]
  int32_t *positions;  // [BLOCK]
  Operands operands;
} Tile;

// Lays a tile out from an aligned address; returns where the state that is kept between calls ends, and the rest.
static void lay_out(Tile *tile, int head_size, uint8_t *base, uint8_t **state_end, uint8_t **end) {
  uint8_t *at = base;
  tile->padded = (tile->rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS * PRODUCT_ROWS;
  tile->operands.head_size = head_size;
  tile->maxima = (float *)take(&at, tile->padded * sizeof(float));
  tile->totals = (float *)take(&at, tile->padded * sizeof(float));
  tile->sums = (float *)take(&at, (size_t)tile->padded * head_size * sizeof(float));
  lay_out_queries(&tile->operands, tile->padded, &at);
  *state_end = at;
  lay_out_block(&tile->operands, &at);
  tile->scores = (float *)take(&at, GROUP_ROWS * BLOCK * sizeof(float));
  tile->positions = (int32_t *)take(&at, BLOCK * sizeof(int32_t));
  *end = at;
}

static void begin_tile(Tile *tile, const float *x, int stride, float scale) {
  const int size = tile->operands.head_size, group = tile->call->group;
  memset(tile->sums, 0, (size_t)tile->padded * size * sizeof(float));
  for (int row = 0; row < tile->rows; row++) {
    pack_query(&tile->operands, row, x + (size_t)(row / group) * stride + row % group * size, scale);
    tile->maxima[row] = -INFINITY;
    tile->totals[row] = 0;
  }
  for (int row = tile->rows; row < tile->padded; row++) {
    clear_query(&tile->operands, row);
  }
}

// What makes a row's weights sum to 1; 0 where it has seen nothing.
static float inverse_total(const Tile *tile, int row) { return tile->totals[row] == 0 ? 0 : 1 / tile->totals[row]; }

static void finish_tile(const Tile *tile, float *results) {
  const int size = tile->operands.head_size;
  for (int row = 0; row < tile->rows; row++) {
    const float factor = inverse_total(tile, row);
    for (int d = 0; d < size; d++) {
      const size_t at = (size_t)row * size + d;
      results[at] = tile->sums[at] * factor;
    }
  }
}

// Fills the working memory with a block.
static void load_block(const Tile *tile, uint32_t *const *slabs, int block, int with_values) {
  const Call *call = tile->call;
  const int words_of_token = token_words(tile->operands.head_size, call->format);
  const uint32_t *rows[BLOCK];
  for (int column = 0; column < BLOCK;) {
    const int index = page_of(call, block, column);
    const Page *page = index < call->page_count ? call->pages + index : NULL;
    const int token = (block * BLOCK + column) % call->page_tokens;
    const int to_page_end = call->page_tokens - token, to_tile_end = LANES - column % LANES;
    const int width = to_page_end < to_tile_end ? to_page_end : to_tile_end;
    const uint32_t *words = page ? slabs[page->slab] + page->offset : NULL;
    const int left = page ? page->tokens - token : 0;
    if (left > 0) {
      pack_keys(&tile->operands, (KeyWords){words + token, call->page_tokens, call->format}, column,
                left < width ? left : width);
    }
    for (int i = 0; i < width; i++) {
      const int there = i < left;
      tile->positions[column + i] = there ? page->first_position + token + i : ABSENT;
      rows[column + i] = there ? words + (size_t)words_of_token * (call->page_tokens + token + i) : NULL;
    }
    column += width;
  }
  if (with_values) {
    pack_values(&tile->operands, rows, call->format);
  }
}

// Column tiles of a block that some rows see, from the first to the last; masked where some rows do not see all of them.
typedef struct {
  int from, to, masked;
} Span;

// What rows [first, end) see of the present block.
static Span span_of(const Tile *tile, int first, int end) {
  const int low = position_of(tile->call, first), high = position_of(tile->call, end - 1);
  const int window_low = window_start(tile->call, low), window_high = window_start(tile->call, high);
  Span span = {COLUMN_TILES, 0, 0};
  for (int i = 0; i < COLUMN_TILES; i++) {
    const int32_t *positions = tile->positions + i * LANES;
    for (int t = 0; t < LANES; t++) {
      if (positions[t] >= window_low && positions[t] <= high) {
        span.from = i < span.from ? i : span.from;
        span.to = i + 1;
      }
    }
  }
  // Whole products.
  span.from -= span.from % PRODUCT_VECTORS;
  span.to += span.to % PRODUCT_VECTORS;
  for (int t = span.from * LANES; t < span.to * LANES; t++) {
    span.masked |= tile->positions[t] < window_high || tile->positions[t] > low;
  }
  return span;
}

// Scores of tokens that a row does not see become minus infinity.
static void hide_unseen(const Tile *tile, int row, Span span, float *scores) {
  const int last = position_of(tile->call, row);
  const int first = window_start(tile->call, last);
  const __m256 hidden = _mm256_set1_ps(-INFINITY);
  for (int t = span.from * LANES; t < span.to * LANES; t += 8) {
    const __m256i positions = _mm256_loadu_si256((const __m256i *)(tile->positions + t));
    const __m256i unseen = _mm256_or_si256(_mm256_cmpgt_epi32(positions, _mm256_set1_epi32(last)),
                                           _mm256_cmpgt_epi32(_mm256_set1_epi32(first), positions));
    _mm256_storeu_ps(scores + t, _mm256_blendv_ps(_mm256_loadu_ps(scores + t), hidden, _mm256_castsi256_ps(unseen)));
  }
}

static void rescale(const Tile *tile, int row, float factor) {
  const int size = tile->operands.head_size;
  float *sums = tile->sums + (size_t)row * size;
  const __m512 factors = _mm512_set1_ps(factor);
  for (int d = 0; d < size; d += LANES) {
    _mm512_storeu_ps(sums + d, _mm512_mul_ps(_mm512_loadu_ps(sums + d), factors));
  }
  tile->totals[row] *= factor;
}

// Scores of a row become weights relative to its new maximum, which passes over NaN; its sums are rescaled.
static void advance(const Tile *tile, int row, Span span, float *scores, __m512 at_limit) {
  __m512 tops = _mm512_set1_ps(tile->maxima[row]);
  for (int t = span.from * LANES; t < span.to * LANES; t += LANES) {
    tops = _mm512_max_ps(_mm512_loadu_ps(scores + t), tops);
  }
  const float max = _mm512_reduce_max_ps(tops);
  if (max > tile->maxima[row]) {
    const __m512 below = _mm512_set1_ps(tile->maxima[row] - max);
    rescale(tile, row, tile->maxima[row] == -INFINITY ? 0 : _mm512_reduce_max_ps(exp_negative(below, at_limit)));
    tile->maxima[row] = max;
  }
  tile->totals[row] += soften(scores, span.from * LANES, span.to * LANES, max == -INFINITY ? 0 : max, at_limit);
}

// Rows whose scores are at hand: from the first to the last, padded to whole products, and what they see of the block.
typedef struct {
  int first, last, end;
  Span span;
} Group;

// The group that begins at a row.
static Group group_at(const Tile *tile, int first) {
  const int end = first + GROUP_ROWS < tile->padded ? first + GROUP_ROWS : tile->padded;
  const int last = end < tile->rows ? end : tile->rows;
  return (Group){first, last, end, span_of(tile, first, last)};
}

static float *scores_of(const Tile *tile, const Group *group, int row) {
  return tile->scores + (size_t)(row - group->first) * BLOCK;
}

static void score_group(const Tile *tile, const Group *group) {
  for (int i = group->span.from; i < group->span.to; i += PRODUCT_VECTORS) {
    for (int row = group->first; row < group->end; row += PRODUCT_ROWS) {
      score(&tile->operands, row, i, scores_of(tile, group, row) + i * LANES);
    }
  }
}

static void weigh_group(const Tile *tile, const Group *group) {
  const int size = tile->operands.head_size;
  for (int d = 0; d < size; d += PRODUCT_VECTORS * LANES) {
    for (int row = group->first; row < group->end; row += PRODUCT_ROWS) {
      weigh(&tile->operands, scores_of(tile, group, row), group->span.from * LANES, group->span.to * LANES, d,
            tile->sums + (size_t)row * size + d);
    }
  }
}

static void attend_block(const Tile *tile, __m512 at_limit) {
  for (int first = 0; first < tile->rows; first += GROUP_ROWS) {
    const Group group = group_at(tile, first);
    if (group.span.from >= group.span.to) {
      continue;
    }
    score_group(tile, &group);
    for (int row = first; row < group.last; row++) {
      float *scores = scores_of(tile, &group, row);
      if (group.span.masked) {
        hide_unseen(tile, row, group.span, scores);
      }
      advance(tile, row, group.span, scores, at_limit);
    }
    weigh_group(tile, &group);
  }
}

// Adds the final probabilities of a block's columns.
static void add_block_mass(const Tile *tile, float *column_mass, __m512 at_limit) {
  for (int first = 0; first < tile->rows; first += GROUP_ROWS) {
    const Group group = group_at(tile, first);
    const Span span = group.span;
    if (span.from >= span.to) {
      continue;
    }
    score_group(tile, &group);
    for (int row = first; row < group.last; row++) {
      float *scores = scores_of(tile, &group, row);
      hide_unseen(tile, row, span, scores);
      const __m512 top = _mm512_set1_ps(tile->maxima[row] == -INFINITY ? 0 : tile->maxima[row]);
      const __m512 factor = _mm512_set1_ps(inverse_total(tile, row));
      for (int t = span.from * LANES; t < span.to * LANES; t += LANES) {
        const __m512 weight = exp_negative(_mm512_sub_ps(_mm512_loadu_ps(scores + t), top), at_limit);
        _mm512_storeu_ps(column_mass + t, _mm512_fmadd_ps(weight, factor, _mm512_loadu_ps(column_mass + t)));
      }
    }
  }
}

static void attend(const Tile *tile, uint32_t *const *slabs) {
  const __m512 at_limit = exp_at_limit();
  const int first = tile->call->first_block;
  for (int block = first; block < first + tile->call->blocks; block++) {
    load_block(tile, slabs, block, 1);
    attend_block(tile, at_limit);
  }
}

static void add_mass(const Tile *tile, uint32_t *const *slabs, float *masses) {
  const __m512 at_limit = exp_at_limit();
  const int first = tile->call->first_block;
  for (int block = first; block < first + tile->call->blocks; block++) {
    float column_mass[BLOCK] = {0};
    load_block(tile, slabs, block, 0);
    add_block_mass(tile, column_mass, at_limit);
    for (int column = 0; column < BLOCK; column++) {
      if (tile->positions[column] != ABSENT) {
        masses[page_of(tile->call, block, column)] += column_mass[column];
      }
    }
  }
}

#endif
