// Scores of decode attention: queries times the keys of a part.

#ifndef KVFREEZE_DECODE_KEYS_H
#define KVFREEZE_DECODE_KEYS_H

#include "decode_byte_keys.h"
#include "decode_call.h"

// Sums for the two halves of a word, where registers allow; one for both halves else.
#ifdef __AVX512F__
enum { HALF_SUMS = 2 };
#else
enum { HALF_SUMS = 1 };
#endif

// Dot products of queries, laid out [word][query][half], with blocks of transposed keys. Lanes beyond a page's tokens
// hold rubbish that later scores overwrite.
INLINE void key_products(const Call *c, const KeyBlocks *b, const float *queries, const int aheadStep, const int blocks,
                         const int count) {
  __m512 low[8], apart[8];
  __m512 *high = HALF_SUMS == 2 ? apart : low;
#pragma clang loop unroll(full)
  for (int i = 0; i < blocks * count; i++) {
    low[i] = high[i] = _mm512_setzero_ps();
  }
  const float *q = queries;
  size_t column = 0, ahead = 0;
  for (int j = 0; j < c->words; j++) {
    __m512 x[2], y[2];
#pragma clang loop unroll(full)
    for (int p = 0; p < blocks; p++) {
      const __m512i w = _mm512_loadu_si512(b->keys[p] + column);
      x[p] = low_half(w);
      y[p] = high_half(w);
      _mm_prefetch(b->ahead[p] + ahead, _MM_HINT_T1);
    }
#pragma clang loop unroll(full)
    for (int g = 0; g < count; g++) {
      const __m512 l = _mm512_set1_ps(q[2 * g]);
      const __m512 h = _mm512_set1_ps(q[2 * g + 1]);
#pragma clang loop unroll(full)
      for (int p = 0; p < blocks; p++) {
        low[p * count + g] = _mm512_fmadd_ps(l, x[p], low[p * count + g]);
        high[p * count + g] = _mm512_fmadd_ps(h, y[p], high[p * count + g]);
      }
    }
    q += 2 * count;
    column += c->pageTokens;
    ahead += aheadStep;
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
#pragma clang loop unroll(full)
    for (int p = 0; p < blocks; p++) {
      const int i = p * count + g;
      _mm512_storeu_ps(b->scores[p] + (size_t)g * c->stride, HALF_SUMS == 2 ? _mm512_add_ps(low[i], high[i]) : low[i]);
    }
  }
}

INLINE void some_products(const Call *c, const KeyBlocks *b, const float *queries, const int aheadStep, const int blocks,
                          const int count) {
  if (c->format != FORMAT_INT8) {
    key_products(c, b, queries, aheadStep, blocks, count);
  } else if (HALF_SUMS == 2) {
    byte_products(c, b, queries, aheadStep, blocks, count);
  } else {
    // Fewer registers.
    for (int p = 0; p < blocks; p++) {
      const KeyBlocks one = {{b->keys[p]}, {b->scores[p]}, {b->ahead[p]}};
      byte_products(c, &one, queries, aheadStep, 1, count);
    }
  }
}

// The group's queries by four, and what is left of them. Only the first four prefetch.
INLINE void group_products(const Call *c, KeyBlocks *b, const int blocks) {
  for (int g = 0; g < c->group; g += MOST_QUERIES) {
    const float *q = c->scaled + (size_t)g * c->headSize;
    const int step = g == 0 ? c->pageTokens * 4 : 0;
    switch (c->group - g) {
      case 1: some_products(c, b, q, step, blocks, 1); break;
      case 2: some_products(c, b, q, step, blocks, 2); break;
      case 3: some_products(c, b, q, step, blocks, 3); break;
      default: some_products(c, b, q, step, blocks, 4); break;
    }
    for (int p = 0; p < blocks; p++) {
      b->scores[p] += (size_t)MOST_QUERIES * c->stride;
    }
  }
}

static void one_block(const Call *c, KeyBlocks *b) {
  group_products(c, b, 1);
}

static void two_blocks(const Call *c, KeyBlocks *b) {
  group_products(c, b, 2);
}

static void score_pages(const Call *c, int firstPage, int count, Ahead *a) {
  KeyBlocks b;
  int waiting = 0;
  int token = 0;
  for (int p = 0; p < count; p++) {
    const jint *page = page_of(c, firstPage + p);
    const int32_t *keys = keys_of(c, page);
    const char *ahead = advance(c, a, keys);
    for (int t = 0; t < page[PAGE_TOKENS]; t += LANES) {
      b.keys[waiting] = keys + t;
      b.scores[waiting] = c->scores + token + t;
      b.ahead[waiting] = ahead + 4 * t;
      if (++waiting == 2) {
        two_blocks(c, &b);
        waiting = 0;
      }
    }
    token += page[PAGE_TOKENS];
  }
  if (waiting) {
    one_block(c, &b);
  }
}

// Pages of one token hold their key in a row: the queries, in their own order, are multiplied along it.
INLINE void score_single(const Call *c, const int32_t *key, int query, float *scores, const int count) {
  __m512 sum[MOST_QUERIES];
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
    sum[g] = _mm512_setzero_ps();
  }
  for (int j = 0; j < c->words; j += LANES) {
    const __mmask16 mask = first_lanes(c->words - j);
    const __m512i w = _mm512_maskz_loadu_epi32(mask, key + j);
    const __m512 x = low_half(w), y = high_half(w);
#pragma clang loop unroll(full)
    for (int g = 0; g < count; g++) {
      const float *q = c->scaled + (size_t)(query + g) * c->headSize + j;
      sum[g] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, q), x, sum[g]);
      sum[g] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, q + c->words), y, sum[g]);
    }
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
    scores[(size_t)(query + g) * c->stride] = _mm512_reduce_add_ps(sum[g]);
  }
}

// The same with a key of 8 bits.
INLINE void score_single_bytes(const Call *c, const int32_t *key, int query, float *scores, const int count) {
  const int words = c->headSize / QUARTERS;
  __m512 sum[MOST_QUERIES];
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
    sum[g] = _mm512_setzero_ps();
  }
  for (int j = 0; j < words; j += LANES) {
    const __m512 scale = scales_of_words(key + words, groups_from(j, words));
#pragma clang loop unroll(full)
    for (int part = 0; part < QUARTERS; part++) {
      const __m512 x = _mm512_mul_ps(scale, quarter_of(_mm512_loadu_si512(key + j), part));
#pragma clang loop unroll(full)
      for (int g = 0; g < count; g++) {
        const float *q = c->scaled + (size_t)(query + g) * c->headSize + part * words + j;
        sum[g] = _mm512_fmadd_ps(_mm512_loadu_ps(q), x, sum[g]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
    scores[(size_t)(query + g) * c->stride] = _mm512_reduce_add_ps(sum[g]);
  }
}

INLINE void score_some(const Call *c, const int32_t *key, int query, float *scores, const int count) {
  if (c->format == FORMAT_INT8) {
    score_single_bytes(c, key, query, scores, count);
  } else {
    score_single(c, key, query, scores, count);
  }
}

static void score_single_pages(const Call *c, int firstPage, int count, Ahead *a) {
  float *scores = c->scores;
  for (int p = 0; p < count; p++) {
    const jint *page = page_of(c, firstPage + p);
    const int32_t *key = keys_of(c, page);
    const char *ahead = advance(c, a, key);
    for (size_t i = 0; i < half_bytes(c); i += LINE_BYTES) {
      _mm_prefetch(ahead + i, _MM_HINT_T1);
    }
    if (page[PAGE_TOKENS] == 0) {
      continue;
    }
    for (int g = 0; g < c->group; g += MOST_QUERIES) {
      switch (c->group - g) {
        case 1: score_some(c, key, g, scores, 1); break;
        case 2: score_some(c, key, g, scores, 2); break;
        case 3: score_some(c, key, g, scores, 3); break;
        default: score_some(c, key, g, scores, 4); break;
      }
    }
    scores++;
  }
}

#endif
