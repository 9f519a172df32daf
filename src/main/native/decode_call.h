// What a call of the decode attention works on, and the prefetches ahead of it.

#ifndef KVFREEZE_DECODE_CALL_H
#define KVFREEZE_DECODE_CALL_H

#include <jni.h>
#include <stdint.h>

#include "bfloat16.h"
#include "softmax.h"

// As in NativeDecodeAttention.java.
enum { HEAD_FIRST_PART, HEAD_PARTS, HEAD_QUERIES_AT, HEAD_OUT_AT, HEAD_REMAINING, HEAD_FIELDS };
enum { PART_HEAD, PART_PAGES, PART_MASS_AT, PART_FIELDS };
enum { RUN_TOKENS, RUN_BEFORE, RUN_AFTER, RUN_FIELDS };
enum { PAGE_SLAB, PAGE_OFFSET, PAGE_TOKENS, PAGE_FIELDS };
// Of a call: as many as its pages at most.
enum { MAX_SLABS = 1024 };

enum { LANES = 16, LINE_BYTES = 64, MOST_QUERIES = 4 };

// How far the prefetches are ahead of the arithmetic: twice a thread's share of the bandwidth times the memory's
// latency. Measured: half or twice of it is within 5 %, none at all a third slower.
enum { AHEAD_BYTES = 8 * 1024 };

typedef struct {
  const int32_t *const *slabs;
  const jint *parts;
  jint *heads;
  const jint *run;
  const jint *pages;
  const float *queries;
  float *out;
  float *results;
  float *masses;
  float *pageMasses;
  float *scaled;
  float *scores;
  int from;
  int to;
  int headSize;
  int format;
  // Of a token's key, and of its value.
  int words;
  int pageTokens;
  int group;
  int stride;
  float scale;
} Call;

// Blocks of up to 16 neighbouring tokens that share the broadcasts of the queries.
typedef struct {
  const int32_t *keys[2];
  float *scores[2];
  const char *ahead[2];
} KeyBlocks;

// The next half page, keys or values, to be asked of the memory: parts in order, of each all keys before all values.
typedef struct {
  int part;
  int page;
  int half;
} Ahead;

INLINE const jint *part_of(const Call *c, int part) {
  return c->parts + (size_t)part * PART_FIELDS;
}

INLINE const jint *page_of(const Call *c, int page) {
  return c->pages + (size_t)page * PAGE_FIELDS;
}

INLINE const int32_t *keys_of(const Call *c, const jint *page) {
  return c->slabs[page[PAGE_SLAB]] + page[PAGE_OFFSET];
}

INLINE const int32_t *values_of(const Call *c, const jint *page) {
  return keys_of(c, page) + (size_t)c->words * c->pageTokens;
}

INLINE size_t half_bytes(const Call *c) {
  return (size_t)c->words * c->pageTokens * 4;
}

INLINE size_t result_stride(const Call *c) {
  return (size_t)c->group * (c->headSize + 2);
}

// A part's record in the results: maxima and sums of weights by query, then the weighted values.
INLINE float *result_of(const Call *c, int part) {
  return c->results + part * result_stride(c);
}

// The half page to prefetch next, or what is at hand when there is none.
static const char *advance(const Call *c, Ahead *a, const void *atHand) {
  while (a->part < c->to) {
    const int count = part_of(c, a->part)[PART_PAGES];
    if (a->half < 2 * count) {
      const int within = a->half < count ? a->half : a->half - count;
      const jint *page = page_of(c, a->page + within);
      const int32_t *next = a->half < count ? keys_of(c, page) : values_of(c, page);
      a->half++;
      return (const char *)next;
    }
    a->part++;
    a->page += count;
    a->half = 0;
  }
  return atHand;
}

static void begin_ahead(const Call *c, Ahead *a) {
  const size_t bytes = half_bytes(c);
  for (size_t done = 0; done < AHEAD_BYTES; done += bytes) {
    const char *next = advance(c, a, NULL);
    if (!next) {
      return;
    }
    for (size_t i = 0; i < bytes; i += LINE_BYTES) {
      _mm_prefetch(next + i, _MM_HINT_T1);
    }
  }
}

#endif
