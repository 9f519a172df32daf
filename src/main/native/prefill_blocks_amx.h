// Blocks of keys and values: from pages into matrix tiles.

#ifndef KVFREEZE_PREFILL_BLOCKS_AMX_H
#define KVFREEZE_PREFILL_BLOCKS_AMX_H

#include "prefill_tile_amx.h"

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

enum { LINE_BYTES = 64 };

// Lines of the next block's pages, asked for while the present block is worked on, some with each row.
typedef struct {
  const Call *call;
  uint32_t *const *slabs;
  int page, end, at, page_bytes, lines;
} ReadAhead;

static ReadAhead read_ahead(const Tile *tile, uint32_t *const *slabs, int block, int with_values) {
  const Call *call = tile->call;
  const int page_bytes = (with_values ? 4 : 2) * tile->head_size * call->page_tokens;
  ReadAhead ahead = {.call = call, .slabs = slabs, .page_bytes = page_bytes};
  if (call->page_tokens <= BLOCK) {
    ahead.page = page_of(call, block, 0);
    const int end = page_of(call, block, BLOCK - 1) + 1;
    ahead.end = end < call->page_count ? end : call->page_count;
    const int lines = (ahead.end - ahead.page) * (page_bytes / LINE_BYTES + 1);
    ahead.lines = (lines + tile->rows - 1) / tile->rows;
  }
  return ahead;
}

static inline void read_lines(ReadAhead *ahead) {
  for (int line = 0; line < ahead->lines && ahead->page < ahead->end; line++) {
    const Page *page = ahead->call->pages + ahead->page;
    _mm_prefetch((const char *)(ahead->slabs[page->slab] + page->offset) + ahead->at, _MM_HINT_T1);
    ahead->at += LINE_BYTES;
    if (ahead->at >= ahead->page_bytes + LINE_BYTES) {
      ahead->at = 0;
      ahead->page++;
    }
  }
}

#endif
