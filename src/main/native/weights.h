// Tiles of quantised weights as QuantizedWeight.java lays them out: 32 output rows, blocks of 32 columns; of each pair of
// blocks the scales come first, then the quants, the two blocks alternating.

#ifndef KVFREEZE_WEIGHTS_H
#define KVFREEZE_WEIGHTS_H

#include <stdint.h>

#include "vectors.h"

enum { TILE_ROWS = 32, BLOCK_COLUMNS = 32, LINE_WORDS = 16 };

// As NativeProducts.java numbers them: ScaleKind's, then the formats without quants.
enum { HALF_PAIR = 0, HALF = 1, FLOAT_PAIR = 2, FLOAT_TWO_GROUPS = 3, BFLOAT16 = 4, FLOAT16 = 5, FLOAT32 = 6 };

typedef struct {
  const int32_t *words;
  int kind;
  int bits;
  int zero_point;
  int blocks;
} Weight;

INLINE int scale_words(const Weight *weight) {
  return weight->kind == HALF_PAIR ? 32 : weight->kind == HALF ? 16 : 64;
}

INLINE int quant_words(const Weight *weight) { return weight->bits * TILE_ROWS; }

INLINE int64_t tile_words(const Weight *weight) {
  switch (weight->kind) {
    case BFLOAT16:
    case FLOAT16:
      return (int64_t)weight->blocks * TILE_ROWS * BLOCK_COLUMNS / 2;
    case FLOAT32:
      return (int64_t)weight->blocks * TILE_ROWS * BLOCK_COLUMNS;
    default:
      return (int64_t)weight->blocks * (scale_words(weight) + quant_words(weight));
  }
}

INLINE const int32_t *tile_of(const Weight *weight, int tile) { return weight->words + tile_words(weight) * tile; }

INLINE int is_paired(const Weight *weight, int stored) { return stored < weight->blocks / 2 * 2; }

// Where a stored block's pair begins.
INLINE const int32_t *pair_at(const Weight *weight, const int32_t *tile, int stored) {
  return tile + stored / 2 * 2 * (scale_words(weight) + quant_words(weight));
}

INLINE const int32_t *scales_of(const Weight *weight, const int32_t *tile, int stored) {
  return pair_at(weight, tile, stored) + stored % 2 * scale_words(weight);
}

// First word of a stored block's quants; its words of a row are quant_stride apart.
INLINE const int32_t *quants_of(const Weight *weight, const int32_t *tile, int stored) {
  const int scales = (is_paired(weight, stored) ? 2 : 1) * scale_words(weight);
  return pair_at(weight, tile, stored) + scales + stored % 2 * TILE_ROWS;
}

INLINE int quant_stride(const Weight *weight, int stored) { return is_paired(weight, stored) ? 2 * TILE_ROWS : TILE_ROWS; }

// Where a block lies among the stored blocks.
INLINE int stored_block(int block, int blocks) {
  const int half = (blocks + 1) / 2;
  return block < half ? 2 * block : 2 * (block - half) + 1;
}

INLINE int block_of(int stored, int blocks) { return stored % 2 == 0 ? stored / 2 : (blocks + 1) / 2 + stored / 2; }

#endif
