// What a call of the prefill attention is about, whatever does its arithmetic.

#ifndef KVFREEZE_PREFILL_CALL_H
#define KVFREEZE_PREFILL_CALL_H

#include <stddef.h>
#include <stdint.h>

enum {
  BLOCK = 128,      // columns of a block, as in NativePrefillAttention.java
  MAX_SLABS = 128,  // of a call, as there
  ABSENT = INT32_MAX
};

// As NativePrefillAttention.java lays them out: a page, and what a call is about.
typedef struct {
  int32_t slab, offset, first_position, tokens;
} Page;

typedef struct {
  int32_t head_size, group, rows, first_position, window;
  int32_t page_tokens, page_count, first_block, blocks, format;
  Page pages[];  // from the one that holds the first column of the first block on
} Call;

static inline int position_of(const Call *call, int row) { return call->first_position + row / call->group; }

static inline int window_start(const Call *call, int position) {
  const int start = position - call->window + 1;
  return call->window <= 0 || start < 0 ? 0 : start;
}

// The page of a block's column, counted in the call; beyond the last one for columns after it.
static inline int page_of(const Call *call, int block, int column) {
  return (block * BLOCK + column) / call->page_tokens - call->first_block * BLOCK / call->page_tokens;
}

// Lines of memory for part of a tile.
static inline uint8_t *take(uint8_t **at, size_t bytes) {
  uint8_t *taken = *at;
  *at += (bytes + 63) / 64 * 64;
  return taken;
}

#endif
