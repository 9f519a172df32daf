// What a call of the sketches' scoring works on.

#ifndef KVFREEZE_SKETCH_CALL_H
#define KVFREEZE_SKETCH_CALL_H

#include <jni.h>
#include <stdint.h>

#include "softmax.h"

// As in NativeSketchScores.java.
enum { HEAD_FIRST_PART, HEAD_PARTS, HEAD_QUERIES_AT, HEAD_PAGES_AT, HEAD_TURNS, HEAD_REMAINING, HEAD_FIELDS };
enum { PART_HEAD, PART_PAGES, PART_SUMS_AT, PART_PAGES_AT, PART_FIELDS };
enum { RUN_RUNS, RUN_HIDDEN, RUN_FIELDS };
enum {
  SET_HEAD_SIZE,
  SET_CODES,
  SET_PLANES,
  SET_PAGE_TOKENS,
  SET_GROUP,
  SET_ROTATION_STRIDE,
  SET_FAST,
  SET_WAVE_STRIDE,
  SET_SLOW,
  SET_SLOW_STRIDE,
  SET_PAIRS
};

enum { LANES = 16, RUN = 16, BLOCK = 64, RUNS_OF_BLOCK = BLOCK / RUN, TERMS = 4 };
// Blocks that an entry of the coarse table of turns reaches, as in CentreTables.java.
enum { FINE_BLOCKS = 16, FINE_COLUMNS = FINE_BLOCKS * TERMS };
// How far the prefetches are ahead of the arithmetic.
enum { AHEAD_RUNS = 16 };
enum { MOST_QUERIES = 4, MOST_HEADS = 64, MOST_SIZE = 256, MOST_GROUP = 16 };

// Cosines and sines of the fast waves are 16-bit numbers of this many to one.
#define SHAPE_UNIT 16384.0f

// A query of the group as it is multiplied: 16-bit numbers in two 8-bit planes, high times 128 plus low.
typedef struct {
  float unit;
  float offset;
  float excess;
  float waveUnit;
} QueryNumbers;

typedef struct {
  const jint *set;
  const jint *parts;
  jint *heads;
  const jint *run;
  const float *queries;
  const float *centres;
  const float *shares;
  // Of turned keys the matrix, else null; of some dimensions of the keys, by head and code, which ones and their weights.
  const float *rotation;
  const jint *dimensions;
  const float *weights;
  const float *turns;
  const int32_t *shapes;
  const int32_t *const *bits;
  const uint16_t *const *steps;
  float *results;
  float *sums;
  float *pageMasses;
  int from;
  int to;
  int firstHead;
  int group;
  int headSize;
  int codes;
  int words;
  int shifts;
  int waves;
  int waveStride;
  int slowStride;
  int stride;
  float scale;
  float errorVariance;
  // Scratch: [chunk][word * shifts][query][plane] of four bytes.
  int32_t *bytes;
  // The waves, [query][in phase and in quadrature][fast and slow ones], and the same at a coarse entry's beginning.
  float *amplitudes;
  float *turned;
  int coarse;
  float *heights;
  int32_t *factors;
  float *scores;
  QueryNumbers numbers[MOST_GROUP];
  // Of the two places of heights, the first of the four blocks they are of; of those of factors, the block.
  int heightBlocks[2];
  int factorBlocks[2];
  // Where in 64 codes the bytes lie that come out of their words together.
  uint8_t order[64];
} Call;

INLINE const jint *part_of(const Call *c, int part) {
  return c->parts + (size_t)part * PART_FIELDS;
}

INLINE int wave_width(const Call *c) {
  return c->waveStride + c->slowStride;
}

// Maxima and totals of a part by query.
INLINE float *result_of(const Call *c, int part) {
  return c->results + (size_t)part * 2 * c->group;
}

#endif
