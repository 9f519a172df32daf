// Prefill attention on the matrix unit: bfloat16 products, and a float32 softmax that is kept running over blocks of
// keys, so that no matrix of scores is ever in memory (FlashAttention, arXiv 2205.14135).
//
// A tile is some neighbouring rows of a sequence times the query heads of one KV head; its product rows, ordered by
// row and then head, are cut into row tiles of 16. Blocks are counted in the page list from its first page, each page
// taking its page_tokens columns whether they hold tokens or not. So what a row adds in which order follows from the
// page list alone, and its result does not depend on the tile that it falls into.
//
// Queries are split into two bfloat16 parts, the second being what rounding left of the first: scores are nearly those
// of float32. Weights are rounded to bfloat16, and so are their totals' terms, so that rounded weights still sum to 1.

#include <immintrin.h>
#include <jni.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
  LANES = 16,       // floats of a register; rows, and 32-bit columns, of a matrix tile
  TILE = 256,       // 32-bit words of a matrix tile
  TILE_BYTES = 1024,
  ROW_BYTES = 64,
  PARTS = 2,        // of a query
  BLOCK = 128,      // columns of a block, as in NativePrefillAttention.java
  STEP = 32,        // columns of one product with the values: pairs of tokens fill a tile
  STEPS = BLOCK / STEP,
  COLUMN_TILES = BLOCK / LANES,
  GROUP = 4,        // column tiles scored, or value tiles summed, together: so many sums hide a product's latency
  GROUP_STEPS = GROUP * LANES / STEP,
  MAX_SLABS = 128,  // as in NativePrefillAttention.java
  ABSENT = INT32_MAX
};

// As NativePrefillAttention.java lays them out: a page, and what a call is about.
typedef struct {
  int32_t slab, offset, first_position, tokens;
} Page;

typedef struct {
  int32_t head_size, group, rows, first_position, window;
  int32_t page_tokens, page_count, first_block, blocks;
  Page pages[];  // from the one that holds the first column of the first block on
} Call;

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

static uint8_t *take(uint8_t **at, size_t bytes) {
  uint8_t *taken = *at;
  *at += (bytes + 63) / 64 * 64;
  return taken;
}

// Lays a tile out from an aligned address; returns where the state that is kept between calls ends, and the rest.
static void lay_out(Tile *tile, uint8_t *base, uint8_t **state_end, uint8_t **end) {
  uint8_t *at = base;
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

// Arrays of the heap begin anywhere modulo 64 bytes, and the collector may have moved the scratch since the last call:
// its first word says how far from it the state lies.
static Tile open_tile(const Call *call, float *scratch, int fresh) {
  Tile tile = {.call = call, .head_size = call->head_size, .rows = call->rows};
  int32_t *last_shift = (int32_t *)scratch;
  uint8_t *base = (uint8_t *)(((uintptr_t)scratch + sizeof(int32_t) + 63) & ~(uintptr_t)63);
  const int32_t shift = (int32_t)(base - (uint8_t *)scratch);
  uint8_t *state_end, *end;
  lay_out(&tile, base, &state_end, &end);
  if (!fresh && *last_shift != shift) {
    memmove(base, (uint8_t *)scratch + *last_shift, state_end - base);
  }
  *last_shift = shift;
  return tile;
}

// ---- rows

static int position_of(const Tile *tile, int row) {
  return tile->call->first_position + row / tile->call->group;
}

static int window_start(const Tile *tile, int position) {
  const int start = position - tile->call->window + 1;
  return tile->call->window <= 0 || start < 0 ? 0 : start;
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
    pack_query(tile, row, x + (size_t)(row / tile->call->group) * stride + row % tile->call->group * tile->head_size, scale);
    tile->maxima[row] = -__builtin_inff();
  }
}

static void finish_tile(const Tile *tile, float *out, int stride) {
  for (int row = 0; row < tile->rows; row++) {
    const float *sums = sums_of(tile, row);
    const float total = sums[(tile->value_tiles - 1) * TILE];
    const __m512 factor = _mm512_set1_ps(total == 0 ? 0 : 1 / total);
    float *to = out + (size_t)(row / tile->call->group) * stride + row % tile->call->group * tile->head_size;
    for (int d = 0; d < tile->value_tiles - 1; d++) {
      _mm512_storeu_ps(to + d * LANES, _mm512_mul_ps(_mm512_load_ps(sums + d * TILE), factor));
    }
  }
}

// ---- blocks

// Copies keys of one page that fall into one column tile; pages have the layout of a product's right side already.
static void copy_keys(const Tile *tile, const uint32_t *from, int column, int count) {
  const __mmask16 mask = (__mmask16)((1u << count) - 1);
  uint32_t *to = tile->keys + (size_t)(column / LANES) * tile->key_steps * TILE + column % LANES;
  const int words = tile->head_size / 2;
  for (int word = 0; word < words; word++) {
    const __m512i key = _mm512_maskz_loadu_epi32(mask, from + (size_t)word * tile->call->page_tokens);
    _mm512_mask_storeu_epi32(to + word * LANES, mask, key);
  }
}

// Pairs of tokens side by side, as a product sums over them; a token that is not there has zeros.
static void interleave_values(const Tile *tile, const uint32_t *const *rows, int columns) {
  const int words = tile->head_size / 2;
  const int half = words / LANES;
  for (int pair = 0; pair < columns / 2; pair++) {
    const uint32_t *even = rows[2 * pair], *odd = rows[2 * pair + 1];
    const __mmask16 even_there = even ? 0xffff : 0, odd_there = odd ? 0xffff : 0;
    uint32_t *to = tile->values + (size_t)pair * LANES;
    for (int d = 0; d < half; d++) {
      const __m512i a = _mm512_maskz_loadu_epi32(even_there, even + d * LANES);
      const __m512i b = _mm512_maskz_loadu_epi32(odd_there, odd + d * LANES);
      const __m512i low = _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
      const __m512i high = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(a, 16), b);
      _mm512_store_si512(to + (size_t)d * STEPS * TILE, low);
      _mm512_store_si512(to + (size_t)(d + half) * STEPS * TILE, high);
    }
  }
}

// The page of a block's column, counted in the call; beyond the last one for columns after it.
static int page_of(const Call *call, int block, int column) {
  return (block * BLOCK + column) / call->page_tokens - call->first_block * BLOCK / call->page_tokens;
}

// Fills the working memory with a block. Keys that are not there stay what they were: their scores are masked.
static void load_block(const Tile *tile, uint32_t *const *slabs, int block, int with_values) {
  const Call *call = tile->call;
  const int token_words = tile->head_size / 2;
  const uint32_t *rows[BLOCK];
  int filled = 0;
  for (int column = 0; column < BLOCK; column++) {
    rows[column] = NULL;
    tile->positions[column] = ABSENT;
  }
  for (int column = 0; column < BLOCK;) {
    const int index = page_of(call, block, column);
    if (index >= call->page_count) {
      break;
    }
    const Page *page = call->pages + index;
    const int token = (block * BLOCK + column) % call->page_tokens;
    const int to_page_end = call->page_tokens - token, to_tile_end = LANES - column % LANES;
    const int width = to_page_end < to_tile_end ? to_page_end : to_tile_end;
    const int count = page->tokens - token < width ? page->tokens - token : width;
    if (count > 0) {
      const uint32_t *words = slabs[page->slab] + page->offset;
      copy_keys(tile, words + token, column, count);
      const uint32_t *values = words + (size_t)token_words * (call->page_tokens + token);
      for (int i = 0; i < count; i++) {
        rows[column + i] = values + (size_t)i * token_words;
        tile->positions[column + i] = page->first_position + token + i;
      }
      filled = column + count;
    }
    column += width;
  }
  if (with_values) {
    interleave_values(tile, rows, (filled + STEP - 1) / STEP * STEP);
  }
}

// The values of the totals: every token has bfloat16 ones.
static void fill_ones(const Tile *tile) {
  uint32_t *ones = tile->values + (size_t)(tile->value_tiles - 1) * STEPS * TILE;
  for (int i = 0; i < TILE; i++) {
    ones[i] = 0x3f803f80;
  }
}

// Lines of the next block's pages, asked for while the present block is worked on.
typedef struct {
  const Call *call;
  uint32_t *const *slabs;
  int page, end, at, page_bytes, lines;
} ReadAhead;

static ReadAhead read_ahead(const Tile *tile, uint32_t *const *slabs, int block, int rows) {
  const Call *call = tile->call;
  ReadAhead ahead = {.call = call, .slabs = slabs, .page_bytes = 4 * tile->head_size * call->page_tokens};
  if (call->page_tokens <= BLOCK) {
    ahead.page = page_of(call, block, 0);
    const int end = page_of(call, block, BLOCK - 1) + 1;
    ahead.end = end < call->page_count ? end : call->page_count;
    ahead.lines = ((ahead.end - ahead.page) * (ahead.page_bytes / ROW_BYTES + 1) + rows - 1) / rows;
  }
  return ahead;
}

static inline void read_lines(ReadAhead *ahead) {
  for (int line = 0; line < ahead->lines && ahead->page < ahead->end; line++) {
    const Page *page = ahead->call->pages + ahead->page;
    _mm_prefetch((const char *)(ahead->slabs[page->slab] + page->offset) + ahead->at, _MM_HINT_T1);
    ahead->at += ROW_BYTES;
    if (ahead->at >= ahead->page_bytes + ROW_BYTES) {
      ahead->at = 0;
      ahead->page++;
    }
  }
}

// ---- products

// The products of a pipeline stage, in units of a few matrix instructions that the softmax is mixed with: the matrix
// unit works while the vector units do, if their instructions are close enough together in the program.
typedef struct {
  const Tile *tile;
  // Scores of the next row tile.
  const uint32_t *query, *keys;
  float *scores;
  int k, groups;
  // Weighted values of the last one.
  float *sums;
  const uint32_t *values, *weights;
  int value_tiles, step, from, to, totals;
} Products;

// Four column tiles at once, so that four sums are under way.
static inline __attribute__((always_inline)) void score_unit(Products *p) {
  const Tile *tile = p->tile;
  const size_t column_tile = (size_t)tile->key_steps * TILE;
  const uint32_t *query = p->query + p->k * PARTS * TILE;
  const uint32_t *keys = p->keys + p->k * TILE;
  if (p->k == 0) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  _tile_loadd(4, query, ROW_BYTES);
  _tile_loadd(5, query + TILE, ROW_BYTES);
  _tile_loadd(6, keys, ROW_BYTES);
  _tile_dpbf16ps(0, 4, 6);
  _tile_loadd(7, keys + column_tile, ROW_BYTES);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(0, 5, 6);
  _tile_dpbf16ps(1, 5, 7);
  _tile_loadd(6, keys + 2 * column_tile, ROW_BYTES);
  _tile_dpbf16ps(2, 4, 6);
  _tile_loadd(7, keys + 3 * column_tile, ROW_BYTES);
  _tile_dpbf16ps(3, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
  if (++p->k == tile->key_steps) {
    _tile_stored(0, p->scores, ROW_BYTES);
    _tile_stored(1, p->scores + TILE, ROW_BYTES);
    _tile_stored(2, p->scores + 2 * TILE, ROW_BYTES);
    _tile_stored(3, p->scores + 3 * TILE, ROW_BYTES);
    p->scores += 4 * TILE;
    p->keys += 4 * column_tile;
    p->k = 0;
    p->groups--;
  }
}

// Adds the weighted values of a step to tiles of a row tile's sums, and to its totals with the first of them.
static inline __attribute__((always_inline)) void weigh_unit(Products *p, int tiles, int totals) {
  float *sums = p->sums;
  float *total = p->sums + (size_t)(p->tile->value_tiles - 1) * TILE;
  if (p->step == p->from) {
    _tile_loadd(0, sums, ROW_BYTES);
    _tile_loadd(1, sums + TILE, ROW_BYTES);
    if (tiles == 4) {
      _tile_loadd(2, sums + 2 * TILE, ROW_BYTES);
      _tile_loadd(3, sums + 3 * TILE, ROW_BYTES);
    }
    if (totals) {
      _tile_loadd(4, total, ROW_BYTES);
      _tile_loadd(7, p->values + (size_t)(p->tile->value_tiles - 1) * STEPS * TILE, ROW_BYTES);
    }
  }
  const uint32_t *at = p->values + p->step * TILE;
  _tile_loadd(5, p->weights + p->step * TILE, ROW_BYTES);
  _tile_loadd(6, at, ROW_BYTES);
  _tile_dpbf16ps(0, 5, 6);
  _tile_loadd(6, at + STEPS * TILE, ROW_BYTES);
  _tile_dpbf16ps(1, 5, 6);
  if (tiles == 4) {
    _tile_loadd(6, at + 2 * STEPS * TILE, ROW_BYTES);
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(6, at + 3 * STEPS * TILE, ROW_BYTES);
    _tile_dpbf16ps(3, 5, 6);
  }
  if (totals) {
    _tile_dpbf16ps(4, 5, 7);
  }
  if (++p->step == p->to) {
    _tile_stored(0, sums, ROW_BYTES);
    _tile_stored(1, sums + TILE, ROW_BYTES);
    if (tiles == 4) {
      _tile_stored(2, sums + 2 * TILE, ROW_BYTES);
      _tile_stored(3, sums + 3 * TILE, ROW_BYTES);
    }
    if (totals) {
      _tile_stored(4, total, ROW_BYTES);
    }
    p->sums += tiles * TILE;
    p->values += tiles * STEPS * TILE;
    p->value_tiles -= tiles;
    p->step = p->from;
    p->totals = 0;
  }
}

static void multiply_unit(Products *p) {
  if (p->groups > 0) {
    score_unit(p);
  } else if (p->value_tiles >= 4) {
    if (p->totals) {
      weigh_unit(p, 4, 1);
    } else {
      weigh_unit(p, 4, 0);
    }
  } else if (p->value_tiles > 0) {
    if (p->totals) {
      weigh_unit(p, 2, 1);
    } else {
      weigh_unit(p, 2, 0);
    }
  }
}

// ---- softmax

// 2^x for x <= 0, within 1.5e-7 of it; 0 for -infinity. A polynomial takes the remainder over the floor, SCALEF the floor.
static inline __m512 power_of_two(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(0.0018671300495043397f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009017030708491802f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05579991266131401f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24016444385051727f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931512951850891f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
  return _mm512_scalef_ps(p, x);
}

#define LOG2_E 1.44269504088896341f

// Where weights are exp(score - max): what to take from score * log2(e). Rows that have seen nothing have no maximum.
static inline float exponent_of(float max) {
  return max == -__builtin_inff() ? 0 : max * LOG2_E;
}

static __attribute__((noinline)) float rescale(const Tile *tile, int row, float max, float new_max) {
  float *sums = sums_of(tile, row);
  const __m512 scaled = _mm512_set1_ps(max == -__builtin_inff() ? max : max * LOG2_E - new_max * LOG2_E);
  const __m512 factor = power_of_two(scaled);
  for (int d = 0; d < tile->value_tiles; d++) {
    _mm512_store_ps(sums + d * TILE, _mm512_mul_ps(_mm512_load_ps(sums + d * TILE), factor));
  }
  tile->maxima[row] = new_max;
  return new_max;
}

static inline __mmask16 visible(const Tile *tile, int vector, int first, int last) {
  const __m512i positions = _mm512_load_si512(tile->positions + vector * LANES);
  return _mm512_cmple_epi32_mask(positions, _mm512_set1_epi32(last)) &
         _mm512_cmpge_epi32_mask(positions, _mm512_set1_epi32(first));
}

// Turns a row's scores of the span into weights relative to its new maximum; rescales its sums where that has grown.
static inline __attribute__((always_inline)) void soften_row(
    const Tile *tile, int row, const float *scores, uint32_t *weights, int from, int to, int masked) {
  const float *in = scores + row % LANES * LANES;
  const int position = position_of(tile, row);
  const int first = window_start(tile, position);
  __m512 s[COLUMN_TILES];
  __m512 largest = _mm512_set1_ps(-__builtin_inff());
  for (int v = 2 * from; v < 2 * to; v++) {
    s[v] = _mm512_load_ps(in + v * TILE);
    if (masked) {
      s[v] = _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), visible(tile, v, first, position), s[v]);
    }
    largest = _mm512_max_ps(s[v], largest);
  }
  float max = tile->maxima[row];
  if (_mm512_cmp_ps_mask(largest, _mm512_set1_ps(max), _CMP_GT_OQ)) {
    max = rescale(tile, row, max, _mm512_reduce_max_ps(largest));
  }
  const __m512 exponent = _mm512_set1_ps(exponent_of(max));
  uint32_t *out = weights + row % LANES * LANES;
  for (int step = from; step < to; step++) {
    const __m512 a = power_of_two(_mm512_fmsub_ps(s[2 * step], _mm512_set1_ps(LOG2_E), exponent));
    const __m512 b = power_of_two(_mm512_fmsub_ps(s[2 * step + 1], _mm512_set1_ps(LOG2_E), exponent));
    _mm512_store_si512(out + step * TILE, (__m512i)_mm512_cvtne2ps_pbh(b, a));
  }
}

static void soften_part(const Tile *tile, int row, const float *scores, uint32_t *weights, Span span) {
  soften_row(tile, row, scores, weights, span.from, span.to, 1);
}

static inline void soften(const Tile *tile, int row, Span span, const float *scores, uint32_t *weights) {
  if (span.from == 0 && span.to == STEPS && !span.masked) {
    soften_row(tile, row, scores, weights, 0, STEPS, 0);
  } else if (span.from < span.to) {
    soften_part(tile, row, scores, weights, span);
  }
}

static Span span_of(const Tile *tile, int row_tile) {
  const int first_row = row_tile * LANES;
  const int last_row = first_row + LANES - 1 < tile->rows ? first_row + LANES - 1 : tile->rows - 1;
  const int low = position_of(tile, first_row), high = position_of(tile, last_row);
  const int window_low = window_start(tile, low), window_high = window_start(tile, high);
  Span span = {STEPS, 0, 0};
  for (int step = 0; step < STEPS; step++) {
    const int v = 2 * step;
    if (visible(tile, v, window_low, high) | visible(tile, v + 1, window_low, high)) {
      span.from = step < span.from ? step : span.from;
      span.to = step + 1;
    }
  }
  for (int v = 2 * span.from; v < 2 * span.to; v++) {
    span.masked |= visible(tile, v, window_high, low) != 0xffff;
  }
  return span;
}

// The units of a stage: scores of row tile next and weighted values of row tile last, where there are any.
static int plan_products(const Tile *tile, Products *p, int next, Span next_span, int last, Span last_span) {
  const size_t column_tile = (size_t)tile->key_steps * TILE;
  p->tile = tile;
  p->groups = 0;
  p->value_tiles = 0;
  int units = 0;
  if (next_span.from < next_span.to) {
    const int from = next_span.from / GROUP_STEPS;
    p->groups = (next_span.to + GROUP_STEPS - 1) / GROUP_STEPS - from;
    p->k = 0;
    p->query = tile->queries + (size_t)next * tile->key_steps * PARTS * TILE;
    p->keys = tile->keys + from * GROUP * column_tile;
    p->scores = tile->scores[next & 1] + from * GROUP * TILE;
    units += p->groups * tile->key_steps;
  }
  if (last_span.from < last_span.to) {
    p->value_tiles = tile->value_tiles - 1;
    p->totals = 1;
    p->sums = tile->sums + (size_t)last * tile->value_tiles * TILE;
    p->values = tile->values;
    p->weights = tile->weights[last & 1];
    p->step = p->from = last_span.from;
    p->to = last_span.to;
    units += (p->value_tiles + 3) / 4 * (p->to - p->from);
  }
  return units;
}

// A pipeline over row tiles: while one's scores become weights, the next one's are computed and the last one's weigh.
static void attend_block(const Tile *tile, ReadAhead *ahead) {
  const Span none = {STEPS, 0, 0};
  Span next, span = none, last = none;
  for (int i = -1; i <= tile->row_tiles; i++) {
    Products products;
    next = i + 1 < tile->row_tiles ? span_of(tile, i + 1) : none;
    const int units = plan_products(tile, &products, i + 1, next, i - 1, last);
    int done = 0;
    for (int r = 0; r < LANES; r++) {
      while (done * LANES < units * (r + 1)) {
        multiply_unit(&products);
        done++;
      }
      const int row = i * LANES + r;
      if (row >= 0 && row < tile->rows) {
        soften(tile, row, span, tile->scores[i & 1], tile->weights[i & 1]);
        read_lines(ahead);
      }
    }
    last = span;
    span = next;
  }
}

// Adds the final probabilities of a row to those of the block's columns.
static void add_row_mass(const Tile *tile, int row, Span span, const float *scores, float *column_mass) {
  const float total = sums_of(tile, row)[(tile->value_tiles - 1) * TILE];
  const __m512 factor = _mm512_set1_ps(total == 0 ? 0 : 1 / total);
  const __m512 exponent = _mm512_set1_ps(exponent_of(tile->maxima[row]));
  const int position = position_of(tile, row);
  const int first = window_start(tile, position);
  scores += row % LANES * LANES;
  for (int v = 2 * span.from; v < 2 * span.to; v++) {
    const __m512 weight = power_of_two(_mm512_fmsub_ps(_mm512_load_ps(scores + v * TILE), _mm512_set1_ps(LOG2_E), exponent));
    const __m512 seen = _mm512_maskz_mov_ps(visible(tile, v, first, position), weight);
    float *to = column_mass + v * LANES;
    _mm512_storeu_ps(to, _mm512_fmadd_ps(seen, factor, _mm512_loadu_ps(to)));
  }
}

static void add_block_mass(const Tile *tile, int block, float *masses) {
  float column_mass[BLOCK] = {0};
  for (int i = 0; i < tile->row_tiles; i++) {
    Products products;
    const Span none = {STEPS, 0, 0}, span = span_of(tile, i);
    const int units = plan_products(tile, &products, i, span, i, none);
    for (int unit = 0; unit < units; unit++) {
      multiply_unit(&products);
    }
    for (int row = i * LANES; row < (i + 1) * LANES && row < tile->rows; row++) {
      add_row_mass(tile, row, span, tile->scores[i & 1], column_mass);
    }
  }
  for (int column = 0; column < BLOCK; column++) {
    if (tile->positions[column] != ABSENT) {
      masses[page_of(tile->call, block, column)] += column_mass[column];
    }
  }
}

// ---- calls

static unsigned int begin_arithmetic(void) {
  const unsigned int mode = _mm_getcsr();
  // Tiny weights are zeros, as the matrix unit takes them: numbers below the normal ones would be slow.
  _mm_setcsr(mode | _MM_FLUSH_ZERO_ON | 0x0040);
  return mode;
}

static void begin_tiles(void) {
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } configuration = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    configuration.row_bytes[i] = ROW_BYTES;
    configuration.rows[i] = LANES;
  }
  _tile_loadconfig(&configuration);
}

static void attend(const Tile *tile, uint32_t *const *slabs) {
  const Call *call = tile->call;
  begin_tiles();
  fill_ones(tile);
  for (int i = 0; i < call->blocks; i++) {
    const int block = call->first_block + i;
    load_block(tile, slabs, block, 1);
    ReadAhead ahead = read_ahead(tile, slabs, block + 1, tile->rows);
    attend_block(tile, &ahead);
  }
  _tile_release();
}

static void add_mass(const Tile *tile, uint32_t *const *slabs, float *masses) {
  const Call *call = tile->call;
  begin_tiles();
  for (int i = 0; i < call->blocks; i++) {
    load_block(tile, slabs, call->first_block + i, 0);
    add_block_mass(tile, call->first_block + i, masses);
  }
  _tile_release();
}

// Arrays held still; the address of one that could not be is null, and so are all after it.
typedef struct {
  JNIEnv *env;
  int count, failed;
  jarray arrays[MAX_SLABS + 3];
  void *addresses[MAX_SLABS + 3];
  jint modes[MAX_SLABS + 3];
} Held;

static void *hold(Held *held, jarray array, jint mode) {
  void *address = held->failed ? NULL : (*held->env)->GetPrimitiveArrayCritical(held->env, array, NULL);
  if (!address) {
    held->failed = 1;
    return NULL;
  }
  held->arrays[held->count] = array;
  held->addresses[held->count] = address;
  held->modes[held->count++] = mode;
  return address;
}

static void release(Held *held) {
  while (held->count > 0) {
    held->count--;
    (*held->env)->ReleasePrimitiveArrayCritical(
        held->env, held->arrays[held->count], held->addresses[held->count], held->modes[held->count]);
  }
}

#define NATIVE(name) JNICALL Java_dev_kvfreeze_device_cpu_NativePrefillAttention_##name

JNIEXPORT jint NATIVE(scratchFloats)(JNIEnv *env, jclass owner, jint head_size, jint rows) {
  Tile tile = {.head_size = head_size, .rows = rows};
  // Measured from an address that is not null, which is never read.
  uint8_t *base = (uint8_t *)(uintptr_t)64, *state_end, *end;
  lay_out(&tile, base, &state_end, &end);
  return (jint)((end - base + sizeof(int32_t) + 64) / sizeof(float) + 1);
}

JNIEXPORT void NATIVE(begin)(
    JNIEnv *env, jclass owner, jintArray call, jfloatArray scratch, jfloatArray x, jint offset, jint stride,
    jfloat scale) {
  Held held = {.env = env};
  const Call *about = hold(&held, call, JNI_ABORT);
  float *memory = hold(&held, scratch, 0);
  const float *queries = hold(&held, x, JNI_ABORT);
  if (!held.failed) {
    const unsigned int mode = begin_arithmetic();
    Tile tile = open_tile(about, memory, 1);
    begin_tile(&tile, queries + offset, stride, scale);
    _mm_setcsr(mode);
  }
  release(&held);
}

// Attends or, with masses, adds masses.
static void run(
    JNIEnv *env, jintArray call, jfloatArray scratch, jobjectArray slabs, jint slab_count, jfloatArray masses,
    jint masses_from) {
  jarray arrays[MAX_SLABS];
  uint32_t *words[MAX_SLABS];
  if ((*env)->EnsureLocalCapacity(env, slab_count + 8) != 0) {
    return;
  }
  for (int i = 0; i < slab_count; i++) {
    arrays[i] = (*env)->GetObjectArrayElement(env, slabs, i);
  }
  Held held = {.env = env};
  for (int i = 0; i < slab_count; i++) {
    words[i] = hold(&held, arrays[i], JNI_ABORT);
  }
  const Call *about = hold(&held, call, JNI_ABORT);
  float *memory = hold(&held, scratch, 0);
  float *sums = masses ? hold(&held, masses, 0) : NULL;
  if (!held.failed) {
    const unsigned int mode = begin_arithmetic();
    const Tile tile = open_tile(about, memory, 0);
    if (sums) {
      add_mass(&tile, words, sums + masses_from);
    } else {
      attend(&tile, words);
    }
    _mm_setcsr(mode);
  }
  release(&held);
}

JNIEXPORT void NATIVE(attend)(
    JNIEnv *env, jclass owner, jintArray call, jfloatArray scratch, jobjectArray slabs, jint slab_count) {
  run(env, call, scratch, slabs, slab_count, NULL, 0);
}

JNIEXPORT void NATIVE(addMass)(
    JNIEnv *env, jclass owner, jintArray call, jfloatArray scratch, jobjectArray slabs, jint slab_count,
    jfloatArray masses, jint masses_from) {
  run(env, call, scratch, slabs, slab_count, masses, masses_from);
}

JNIEXPORT void NATIVE(finish)(
    JNIEnv *env, jclass owner, jintArray call, jfloatArray scratch, jfloatArray out, jint offset, jint stride) {
  Held held = {.env = env};
  const Call *about = hold(&held, call, JNI_ABORT);
  float *memory = hold(&held, scratch, 0);
  float *to = hold(&held, out, 0);
  if (!held.failed) {
    const Tile tile = open_tile(about, memory, 0);
    finish_tile(&tile, to + offset, stride);
  }
  release(&held);
}
