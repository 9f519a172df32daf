// The products of scores and of weighted values on the matrix unit.

#ifndef KVFREEZE_PREFILL_PRODUCTS_AMX_H
#define KVFREEZE_PREFILL_PRODUCTS_AMX_H

#include "prefill_tile_amx.h"
#include "tiles_amx.h"

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
  _tile_loadd(4, query, TILE_STRIDE);
  _tile_loadd(5, query + TILE, TILE_STRIDE);
  _tile_loadd(6, keys, TILE_STRIDE);
  _tile_dpbf16ps(0, 4, 6);
  _tile_loadd(7, keys + column_tile, TILE_STRIDE);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(0, 5, 6);
  _tile_dpbf16ps(1, 5, 7);
  _tile_loadd(6, keys + 2 * column_tile, TILE_STRIDE);
  _tile_dpbf16ps(2, 4, 6);
  _tile_loadd(7, keys + 3 * column_tile, TILE_STRIDE);
  _tile_dpbf16ps(3, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
  if (++p->k == tile->key_steps) {
    _tile_stored(0, p->scores, TILE_STRIDE);
    _tile_stored(1, p->scores + TILE, TILE_STRIDE);
    _tile_stored(2, p->scores + 2 * TILE, TILE_STRIDE);
    _tile_stored(3, p->scores + 3 * TILE, TILE_STRIDE);
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
    _tile_loadd(0, sums, TILE_STRIDE);
    _tile_loadd(1, sums + TILE, TILE_STRIDE);
    if (tiles == 4) {
      _tile_loadd(2, sums + 2 * TILE, TILE_STRIDE);
      _tile_loadd(3, sums + 3 * TILE, TILE_STRIDE);
    }
    if (totals) {
      _tile_loadd(4, total, TILE_STRIDE);
      _tile_loadd(7, p->values + (size_t)(p->tile->value_tiles - 1) * STEPS * TILE, TILE_STRIDE);
    }
  }
  const uint32_t *at = p->values + p->step * TILE;
  _tile_loadd(5, p->weights + p->step * TILE, TILE_STRIDE);
  _tile_loadd(6, at, TILE_STRIDE);
  _tile_dpbf16ps(0, 5, 6);
  _tile_loadd(6, at + STEPS * TILE, TILE_STRIDE);
  _tile_dpbf16ps(1, 5, 6);
  if (tiles == 4) {
    _tile_loadd(6, at + 2 * STEPS * TILE, TILE_STRIDE);
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(6, at + 3 * STEPS * TILE, TILE_STRIDE);
    _tile_dpbf16ps(3, 5, 6);
  }
  if (totals) {
    _tile_dpbf16ps(4, 5, 7);
  }
  if (++p->step == p->to) {
    _tile_stored(0, sums, TILE_STRIDE);
    _tile_stored(1, sums + TILE, TILE_STRIDE);
    if (tiles == 4) {
      _tile_stored(2, sums + 2 * TILE, TILE_STRIDE);
      _tile_stored(3, sums + 3 * TILE, TILE_STRIDE);
    }
    if (totals) {
      _tile_stored(4, total, TILE_STRIDE);
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

#endif
