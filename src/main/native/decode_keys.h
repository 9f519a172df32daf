// Scores of decode attention: queries times the keys of a part.

#ifndef KVFREEZE_DECODE_KEYS_H
#define KVFREEZE_DECODE_KEYS_H

#include "decode_call.h"
#include "int8_words.h"

// Sums for the two halves of a word, where registers allow; one for both halves else.
#ifdef __AVX512F__
enum { HALF_SUMS = 2 };
#else
enum { HALF_SUMS = 1 };
#endif

// Queries times keys of 8 bits are numbers of 16 bits in two planes of 8, high times 128 plus low.
enum { PLANES = 2, PLANE_BITS = 7 };

// Blocks of up to 16 neighbouring tokens that share the broadcasts of the queries.
typedef struct {
  const int32_t *keys[2];
  float *scores[2];
  const char *ahead[2];
} KeyBlocks;

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

// Queries as keys of 8 bits are multiplied by them, of up to MOST_QUERIES: see scale_bytes.
typedef struct {
  // [word][query][plane] of four bytes.
  const int32_t *bytes;
  // [group][query][plane], what sums begin with.
  const int32_t *begins;
  // [group][query]
  const float *units;
} ByteQueries;

INLINE ByteQueries byte_queries(const Call *c, const float *scaled, int count) {
  const int32_t *bytes = (const int32_t *)scaled;
  const int32_t *begins = bytes + (size_t)(c->headSize / QUARTERS) * count * PLANES;
  return (ByteQueries){bytes, begins, (const float *)(begins + GROUPS * count * PLANES)};
}

#ifdef __AVX512F__
enum { KEY_OFFSET = -128 };

// Keys as unsigned numbers, 128 more than they are: sums begin with 128 times the queries less.
INLINE __m512i key_bytes(__m512i words) { return _mm512_xor_si512(words, _mm512_set1_epi32((int)0x80808080)); }

INLINE __m512i add_bytes(__m512i sum, __m512i keys, int32_t query) {
  return _mm512_dpbusd_epi32(sum, keys, _mm512_set1_epi32(query));
}
#else
enum { KEY_OFFSET = 0 };

INLINE __m512i key_bytes(__m512i words) { return words; }

INLINE __m512i add_bytes(__m512i sum, __m512i keys, int32_t query) {
  const __m256i numbers = _mm256_set1_epi32(query);
  const __m256i sizes = _mm256_abs_epi8(numbers);
  return _mm512_dpbusd_epi32(sum, (__m512i){sizes, sizes},
                             (__m512i){_mm256_sign_epi8(keys.low, numbers), _mm256_sign_epi8(keys.high, numbers)});
}
#endif

// The same with keys of 8 bits: whole numbers, and a scale for each group of words.
INLINE void byte_products(const Call *c, const KeyBlocks *b, const float *scaled, const int aheadStep, const int blocks,
                          const int count) {
  const ByteQueries q = byte_queries(c, scaled, count);
  const int words = c->headSize / QUARTERS, each = words / GROUPS;
  __m512 all[8];
  size_t column = 0, ahead = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < blocks * count; i++) {
    all[i] = _mm512_setzero_ps();
  }
  for (int group = 0; group < GROUPS; group++) {
    __m512i high[8], low[8];
#pragma clang loop unroll(full)
    for (int i = 0; i < blocks * count; i++) {
      const int32_t *begins = q.begins + (group * count + i % count) * PLANES;
      high[i] = _mm512_set1_epi32(begins[0]);
      low[i] = _mm512_set1_epi32(begins[1]);
    }
    const int32_t *query = q.bytes + (size_t)group * each * count * PLANES;
    for (int j = 0; j < each; j++) {
#pragma clang loop unroll(full)
      for (int p = 0; p < blocks; p++) {
        const __m512i keys = key_bytes(_mm512_loadu_si512(b->keys[p] + column));
        _mm_prefetch(b->ahead[p] + ahead, _MM_HINT_T1);
#pragma clang loop unroll(full)
        for (int g = 0; g < count; g++) {
          high[p * count + g] = add_bytes(high[p * count + g], keys, query[PLANES * g]);
          low[p * count + g] = add_bytes(low[p * count + g], keys, query[PLANES * g + 1]);
        }
      }
      query += PLANES * count;
      column += c->pageTokens;
      ahead += aheadStep;
    }
#pragma clang loop unroll(full)
    for (int p = 0; p < blocks; p++) {
      const int32_t *scales = b->keys[p] + (size_t)(words + group / 2) * c->pageTokens;
      const __m512 scale = scale_of(_mm512_loadu_si512(scales), group);
#pragma clang loop unroll(full)
      for (int g = 0; g < count; g++) {
        const int i = p * count + g;
        const __m512i dots = _mm512_add_epi32(_mm512_slli_epi32(high[i], PLANE_BITS), low[i]);
        const __m512 unit = _mm512_mul_ps(scale, _mm512_set1_ps(q.units[group * count + g]));
        all[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), unit, all[i]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
#pragma clang loop unroll(full)
    for (int p = 0; p < blocks; p++) {
      _mm512_storeu_ps(b->scores[p] + (size_t)g * c->stride, all[p * count + g]);
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
