// Prefill attention in float32, with a softmax that is kept running over blocks of keys, so that no matrix of scores is
// ever in memory (FlashAttention, arXiv 2205.14135).
//
// A tile is some neighbouring rows of a sequence times the query heads of one KV head, its product rows ordered by row
// and then head. Blocks are counted in the page list from its first page, each page taking its page_tokens columns
// whether they hold tokens or not. So what a row adds in which order follows from the page list alone, and its result
// does not depend on the tile that it falls into: where another row sees more of a block, it adds zeros.

// The slabs of a call, and three arrays more.
#define MAX_HELD 131

#include "held_arrays.h"
#include "prefill_tile_float.h"

// Column tiles of a block that some rows see, from the first to the last; masked where some rows do not see all of them.
typedef struct {
  int from, to, masked;
} Span;

// to[row][column] = what it was, or nothing, + sum over k of a[row][k] * b[k][column], for the rows and the vectors of
// columns of a product; vectors of b are b_stride apart.
INLINE void multiply(const float *a, int a_stride, const float *b, size_t b_stride, int count, float *to, int to_stride,
                     const int begin) {
  __m512 sums[PRODUCT_ROWS][PRODUCT_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < PRODUCT_ROWS; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < PRODUCT_VECTORS; v++) {
      sums[r][v] = begin ? _mm512_setzero_ps() : _mm512_loadu_ps(to + (size_t)r * to_stride + v * LANES);
    }
  }
#pragma clang loop unroll_count(4)
  for (int k = 0; k < count; k++) {
    __m512 column[PRODUCT_VECTORS];
#pragma clang loop unroll(full)
    for (int v = 0; v < PRODUCT_VECTORS; v++) {
      column[v] = _mm512_loadu_ps(b + v * b_stride + (size_t)k * LANES);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < PRODUCT_ROWS; r++) {
      const __m512 factor = _mm512_set1_ps(a[(size_t)r * a_stride + k]);
#pragma clang loop unroll(full)
      for (int v = 0; v < PRODUCT_VECTORS; v++) {
        sums[r][v] = _mm512_fmadd_ps(factor, column[v], sums[r][v]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < PRODUCT_ROWS; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < PRODUCT_VECTORS; v++) {
      _mm512_storeu_ps(to + (size_t)r * to_stride + v * LANES, sums[r][v]);
    }
  }
}

static void score(const float *queries, const float *keys, int size, float *scores) {
  multiply(queries, size, keys, (size_t)size * LANES, size, scores, BLOCK, 1);
}

static void weigh(const float *weights, const float *values, int columns, float *sums, int size) {
  multiply(weights, BLOCK, values, BLOCK * LANES, columns, sums, size, 0);
}

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
  float *sums = tile->sums + (size_t)row * tile->head_size;
  const __m512 factors = _mm512_set1_ps(factor);
  for (int d = 0; d < tile->head_size; d += LANES) {
    _mm512_storeu_ps(sums + d, _mm512_mul_ps(_mm512_loadu_ps(sums + d), factors));
  }
  tile->totals[row] *= factor;
}

// exp(score - max) of a row in place; returns their sum.
static float soften(Span span, float *scores, float max, __m512 at_limit) {
  const __m512 top = _mm512_set1_ps(max);
  __m512 sum = _mm512_setzero_ps();
  for (int t = span.from * LANES; t < span.to * LANES; t += LANES) {
    const __m512 weight = exp_negative(_mm512_sub_ps(_mm512_loadu_ps(scores + t), top), at_limit);
    _mm512_storeu_ps(scores + t, weight);
    sum = _mm512_add_ps(sum, weight);
  }
  return _mm512_reduce_add_ps(sum);
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
  tile->totals[row] += soften(span, scores, max == -INFINITY ? 0 : max, at_limit);
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
  const int size = tile->head_size;
  for (int i = group->span.from; i < group->span.to; i += PRODUCT_VECTORS) {
    for (int row = group->first; row < group->end; row += PRODUCT_ROWS) {
      score(tile->queries + (size_t)row * size, tile->keys + (size_t)i * size * LANES, size,
            scores_of(tile, group, row) + i * LANES);
    }
  }
}

static void weigh_group(const Tile *tile, const Group *group) {
  const int size = tile->head_size;
  const int from = group->span.from * LANES, columns = group->span.to * LANES - from;
  for (int d = 0; d < size; d += PRODUCT_VECTORS * LANES) {
    for (int row = group->first; row < group->end; row += PRODUCT_ROWS) {
      weigh(scores_of(tile, group, row) + from, tile->values + ((size_t)d * BLOCK + from * LANES), columns,
            tile->sums + (size_t)row * size + d, size);
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
      soften(span, scores, tile->maxima[row] == -INFINITY ? 0 : tile->maxima[row], at_limit);
      const float factor = inverse_total(tile, row);
      for (int t = span.from * LANES; t < span.to * LANES; t++) {
        column_mass[t] += scores[t] * factor;
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

#define OWNER FloatPrefillKernels
#include "prefill_entry.h"
