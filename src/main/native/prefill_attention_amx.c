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

// The slabs of a call, and three arrays more.
#define MAX_HELD 131

#include "held_arrays.h"
#include "prefill_blocks_amx.h"
#include "prefill_products_amx.h"
#include "prefill_softmax_amx.h"
#include "tiles_amx.h"

// A pipeline over row tiles: while one's scores become weights, the next one's are computed and the last one's weigh.
// With column masses, what becomes of scores is final probabilities, added to those of the block's columns.
static void run_block(const Tile *tile, ReadAhead *ahead, float *column_mass) {
  const Span none = {STEPS, 0, 0};
  Span next, span = none, last = none;
  for (int i = -1; i <= tile->row_tiles; i++) {
    Products products;
    next = i + 1 < tile->row_tiles ? span_of(tile, i + 1) : none;
    const int units = plan_products(tile, &products, i + 1, next, i - 1, column_mass ? none : last);
    const float *scores = tile->scores[i & 1];
    int done = 0;
    for (int r = 0; r < LANES; r++) {
      while (done * LANES < units * (r + 1)) {
        multiply_unit(&products);
        done++;
      }
      const int row = i * LANES + r;
      if (row >= 0 && row < tile->rows) {
        if (column_mass) {
          add_row_mass(tile, row, span, scores, column_mass);
        } else {
          soften(tile, row, span, scores, tile->weights[i & 1]);
        }
        read_lines(ahead);
      }
    }
    last = span;
    span = next;
  }
}

static void attend(const Tile *tile, uint32_t *const *slabs) {
  const int first = tile->call->first_block;
  configure_tiles();
  fill_ones(tile);
  for (int block = first; block < first + tile->call->blocks; block++) {
    load_block(tile, slabs, block, 1);
    ReadAhead ahead = read_ahead(tile, slabs, block + 1, 1);
    run_block(tile, &ahead, NULL);
  }
  _tile_release();
}

static void add_mass(const Tile *tile, uint32_t *const *slabs, float *masses) {
  const int first = tile->call->first_block;
  configure_tiles();
  for (int block = first; block < first + tile->call->blocks; block++) {
    float column_mass[BLOCK] = {0};
    load_block(tile, slabs, block, 0);
    ReadAhead ahead = read_ahead(tile, slabs, block + 1, 0);
    run_block(tile, &ahead, column_mass);
    for (int column = 0; column < BLOCK; column++) {
      if (tile->positions[column] != ABSENT) {
        masses[page_of(tile->call, block, column)] += column_mass[column];
      }
    }
  }
  _tile_release();
}

#define OWNER Bfloat16PrefillKernels
#include "prefill_entry.h"
