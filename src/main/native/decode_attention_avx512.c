// Attention of single rows over paged bfloat16 keys and values: see NativeDecodeAttention.java, which lays out the
// arrays and checks all bounds, and PageLayout.java for a page's words.

#include <immintrin.h>
#include <jni.h>
#include <math.h>
#include <stdint.h>

#include "softmax_avx512.h"

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
  int words;
  int pageTokens;
  int group;
  int stride;
  float scale;
} Call;

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

// A part's record in the results: maxima and sums of weights by query, then the weighted values.
INLINE float *result_of(const Call *c, int part) {
  return c->results + (size_t)part * c->group * (c->headSize + 2);
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
      _mm_prefetch(next + i, _MM_HINT_T0);
    }
  }
}

INLINE __m512 low_half(__m512i w) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}

INLINE __m512 high_half(__m512i w) {
  return _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int)0xffff0000)));
}

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
  __m512 low[8], high[8];
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
      _mm_prefetch(b->ahead[p] + ahead, _MM_HINT_T0);
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
      _mm512_storeu_ps(b->scores[p] + (size_t)g * c->stride, _mm512_add_ps(low[p * count + g], high[p * count + g]));
    }
  }
}

// The group's queries by four, and what is left of them. Only the first four prefetch.
INLINE void group_products(const Call *c, KeyBlocks *b, const int blocks) {
  for (int g = 0; g < c->group; g += MOST_QUERIES) {
    const float *q = c->scaled + (size_t)g * c->headSize;
    const int step = g == 0 ? c->pageTokens * 4 : 0;
    switch (c->group - g) {
      case 1: key_products(c, b, q, step, blocks, 1); break;
      case 2: key_products(c, b, q, step, blocks, 2); break;
      case 3: key_products(c, b, q, step, blocks, 3); break;
      default: key_products(c, b, q, step, blocks, 4); break;
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
    const __mmask16 mask = _cvtu32_mask16(c->words - j >= LANES ? 0xffff : (1u << (c->words - j)) - 1);
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

static void score_single_pages(const Call *c, int firstPage, int count, Ahead *a) {
  float *scores = c->scores;
  for (int p = 0; p < count; p++) {
    const jint *page = page_of(c, firstPage + p);
    const int32_t *key = keys_of(c, page);
    const char *ahead = advance(c, a, key);
    for (size_t i = 0; i < half_bytes(c); i += LINE_BYTES) {
      _mm_prefetch(ahead + i, _MM_HINT_T0);
    }
    if (page[PAGE_TOKENS] == 0) {
      continue;
    }
    for (int g = 0; g < c->group; g += MOST_QUERIES) {
      switch (c->group - g) {
        case 1: score_single(c, key, g, scores, 1); break;
        case 2: score_single(c, key, g, scores, 2); break;
        case 3: score_single(c, key, g, scores, 3); break;
        default: score_single(c, key, g, scores, 4); break;
      }
    }
    scores++;
  }
}

// The queries of a head by the scale, in the order in which the keys' kernel reads them.
static void scale_queries(const Call *c, const float *queries) {
  if (c->pageTokens == 1) {
    for (int i = 0; i < c->group * c->headSize; i++) {
      c->scaled[i] = queries[i] * c->scale;
    }
    return;
  }
  for (int first = 0; first < c->group; first += MOST_QUERIES) {
    const int count = c->group - first < MOST_QUERIES ? c->group - first : MOST_QUERIES;
    float *to = c->scaled + (size_t)first * c->headSize;
    for (int g = 0; g < count; g++) {
      const float *q = queries + (size_t)(first + g) * c->headSize;
      for (int j = 0; j < c->words; j++) {
        to[2 * (j * count + g)] = q[j] * c->scale;
        to[2 * (j * count + g) + 1] = q[j + c->words] * c->scale;
      }
    }
  }
}

static void hide(float *scores, int from, int to) {
  for (int t = from; t < to; t++) {
    scores[t] = -INFINITY;
  }
}

// Scores of one query become exp(score - maximum). The maximum passes over NaN, the sum does not.
static void weigh(float *scores, const jint *run, __m512 atLimit, float *maximum, float *total) {
  const int tokens = run[RUN_TOKENS];
  const int padded = (tokens + LANES - 1) & -LANES;
  hide(scores, 0, run[RUN_BEFORE]);
  hide(scores, tokens - run[RUN_AFTER], padded);
  __m512 max = _mm512_set1_ps(-INFINITY);
  for (int t = 0; t < padded; t += LANES) {
    max = _mm512_max_ps(_mm512_loadu_ps(scores + t), max);
  }
  *maximum = _mm512_reduce_max_ps(max);
  const __m512 top = _mm512_set1_ps(*maximum == -INFINITY ? 0 : *maximum);
  __m512 sum = _mm512_setzero_ps();
  for (int t = 0; t < padded; t += LANES) {
    const __m512 weight = exp_negative(_mm512_sub_ps(_mm512_loadu_ps(scores + t), top), atLimit);
    _mm512_storeu_ps(scores + t, weight);
    sum = _mm512_add_ps(sum, weight);
  }
  *total = _mm512_reduce_add_ps(sum);
}

static void sum_masses(const Call *c, int firstPage, int count, float *masses) {
  const float *weights = c->scores;
  for (int p = 0; p < count; p++) {
    const int tokens = page_of(c, firstPage + p)[PAGE_TOKENS];
    for (int g = 0; g < c->group; g++) {
      __m512 sum = _mm512_setzero_ps();
      for (int t = 0; t < tokens; t += LANES) {
        const __mmask16 mask = _cvtu32_mask16(tokens - t >= LANES ? 0xffff : (1u << (tokens - t)) - 1);
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, weights + (size_t)g * c->stride + t));
      }
      *masses++ = _mm512_reduce_add_ps(sum);
    }
    weights += tokens;
  }
}

// Some columns of the values times the weights of some queries, summed over the tokens of a part.
typedef struct {
  int firstPage;
  int pages;
  int column;
  int query;
  float *sums;
} ValueBlock;

INLINE void value_sums(const Call *c, const ValueBlock *v, Ahead *a, const int registers, const int count) {
  __m512 low[8], high[8];
#pragma clang loop unroll(full)
  for (int i = 0; i < registers * count; i++) {
    low[i] = high[i] = _mm512_setzero_ps();
  }
  const int last = c->words - v->column - (registers - 1) * LANES;
  const __mmask16 mask = _cvtu32_mask16(last >= LANES ? 0xffff : (1u << last) - 1);
  const size_t rowBytes = (size_t)c->words * 4;
  const float *weights = c->scores + (size_t)v->query * c->stride;
  for (int p = 0; p < v->pages; p++) {
    const jint *page = page_of(c, v->firstPage + p);
    const int32_t *row = values_of(c, page) + v->column;
    const char *ahead = a ? advance(c, a, row) : NULL;
    for (int t = 0; t < page[PAGE_TOKENS]; t++) {
      if (ahead) {
        for (size_t i = 0; i < rowBytes; i += LINE_BYTES) {
          _mm_prefetch(ahead + i, _MM_HINT_T0);
        }
        ahead += rowBytes;
      }
      __m512 x[2], y[2];
#pragma clang loop unroll(full)
      for (int b = 0; b < registers; b++) {
        const __m512i w = b == registers - 1 ? _mm512_maskz_loadu_epi32(mask, row + b * LANES)
                                             : _mm512_loadu_si512(row + b * LANES);
        x[b] = low_half(w);
        y[b] = high_half(w);
      }
#pragma clang loop unroll(full)
      for (int g = 0; g < count; g++) {
        const __m512 weight = _mm512_set1_ps(weights[(size_t)g * c->stride]);
#pragma clang loop unroll(full)
        for (int b = 0; b < registers; b++) {
          low[g * registers + b] = _mm512_fmadd_ps(weight, x[b], low[g * registers + b]);
          high[g * registers + b] = _mm512_fmadd_ps(weight, y[b], high[g * registers + b]);
        }
      }
      weights++;
      row += c->words;
    }
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < count; g++) {
    float *to = v->sums + (size_t)(v->query + g) * c->headSize + v->column;
#pragma clang loop unroll(full)
    for (int b = 0; b < registers; b++) {
      const __mmask16 kept = b == registers - 1 ? mask : _cvtu32_mask16(0xffff);
      _mm512_mask_storeu_ps(to + b * LANES, kept, low[g * registers + b]);
      _mm512_mask_storeu_ps(to + b * LANES + c->words, kept, high[g * registers + b]);
    }
  }
}

INLINE void value_columns(const Call *c, ValueBlock *v, Ahead *a, const int registers) {
  for (v->query = 0; v->query < c->group; v->query += MOST_QUERIES) {
    Ahead *first = v->column == 0 && v->query == 0 ? a : NULL;
    switch (c->group - v->query) {
      case 1: value_sums(c, v, first, registers, 1); break;
      case 2: value_sums(c, v, first, registers, 2); break;
      case 3: value_sums(c, v, first, registers, 3); break;
      default: value_sums(c, v, first, registers, 4); break;
    }
  }
}

static void sum_values(const Call *c, int firstPage, int pages, float *sums, Ahead *a) {
  ValueBlock v = {firstPage, pages, 0, 0, sums};
  for (; c->words - v.column > LANES; v.column += 2 * LANES) {
    value_columns(c, &v, a, 2);
  }
  if (v.column < c->words) {
    value_columns(c, &v, a, 1);
  }
}

static void attend_part(const Call *c, int part, int firstPage, __m512 atLimit, Ahead *a) {
  const jint *fields = part_of(c, part);
  const jint *run = c->run + (size_t)(part - c->from) * RUN_FIELDS;
  const int pages = fields[PART_PAGES];
  float *result = result_of(c, part);
  float *sums = result + 2 * c->group;
  if (c->pageTokens == 1) {
    score_single_pages(c, firstPage, pages, a);
  } else {
    score_pages(c, firstPage, pages, a);
  }
  for (int g = 0; g < c->group; g++) {
    weigh(c->scores + (size_t)g * c->stride, run, atLimit, result + g, result + c->group + g);
  }
  if (fields[PART_MASS_AT] >= 0) {
    sum_masses(c, firstPage, pages, c->masses + (size_t)fields[PART_MASS_AT] * c->group);
  }
  sum_values(c, firstPage, pages, sums, a);
}

// Weights of up to 16 parts of a query: exp(maximum of the part - maximum of all).
static __m512 part_weights(const Call *c, int first, int count, int g, float max, __m512 atLimit) {
  float maxima[LANES];
  for (int i = 0; i < LANES; i++) {
    maxima[i] = i < count ? result_of(c, first + i)[g] : -INFINITY;
  }
  return exp_negative(_mm512_sub_ps(_mm512_loadu_ps(maxima), _mm512_set1_ps(max)), atLimit);
}

static void add_part(const Call *c, int part, int g, float factor, float *out) {
  const float *sums = result_of(c, part) + 2 * c->group + (size_t)g * c->headSize;
  const __m512 factors = _mm512_set1_ps(factor);
  for (int d = 0; d < c->headSize; d += LANES) {
    _mm512_storeu_ps(out + d, _mm512_fmadd_ps(factors, _mm512_loadu_ps(sums + d), _mm512_loadu_ps(out + d)));
  }
  const jint *fields = part_of(c, part);
  if (fields[PART_MASS_AT] < 0) {
    return;
  }
  const float *masses = c->masses + (size_t)fields[PART_MASS_AT] * c->group + g;
  float *to = c->pageMasses + fields[PART_MASS_AT];
  for (int p = 0; p < fields[PART_PAGES]; p++) {
    to[p] = (g == 0 ? 0 : to[p]) + masses[(size_t)p * c->group] * factor / c->group;
  }
}

// Joins the softmaxes of a head's parts, in their order.
static void merge_head(const Call *c, const jint *head, __m512 atLimit) {
  const int first = head[HEAD_FIRST_PART];
  const int end = first + head[HEAD_PARTS];
  for (int g = 0; g < c->group; g++) {
    float max = -INFINITY;
    for (int i = first; i < end; i++) {
      max = fmaxf(max, result_of(c, i)[g]);
    }
    max = max == -INFINITY ? 0 : max;
    float weights[LANES];
    float total = 0;
    for (int i = first; i < end; i += LANES) {
      _mm512_storeu_ps(weights, part_weights(c, i, end - i, g, max, atLimit));
      for (int k = 0; k < LANES && i + k < end; k++) {
        total += result_of(c, i + k)[c->group + g] * weights[k];
      }
    }
    float *out = c->out + head[HEAD_OUT_AT] + (size_t)g * c->headSize;
    for (int d = 0; d < c->headSize; d += LANES) {
      _mm512_storeu_ps(out + d, _mm512_setzero_ps());
    }
    for (int i = first; i < end; i += LANES) {
      _mm512_storeu_ps(weights, part_weights(c, i, end - i, g, max, atLimit));
      for (int k = 0; k < LANES && i + k < end; k++) {
        add_part(c, i + k, g, weights[k] / total, out);
      }
    }
  }
}

// Whoever ends a head's last part joins its parts.
static void finish_parts(const Call *c, int head, int count, __m512 atLimit) {
  jint *fields = c->heads + (size_t)head * HEAD_FIELDS;
  if (__atomic_sub_fetch(&fields[HEAD_REMAINING], count, __ATOMIC_ACQ_REL) == 0) {
    merge_head(c, fields, atLimit);
  }
}

static void attend_parts(const Call *c) {
  const __m512 atLimit = exp_at_limit();
  Ahead ahead = {c->from, 0, 0};
  begin_ahead(c, &ahead);
  int page = 0;
  int head = -1;
  int done = 0;
  for (int part = c->from; part < c->to; part++) {
    const jint *fields = part_of(c, part);
    if (fields[PART_HEAD] != head) {
      if (done) {
        finish_parts(c, head, done, atLimit);
      }
      head = fields[PART_HEAD];
      done = 0;
      scale_queries(c, c->queries + c->heads[(size_t)head * HEAD_FIELDS + HEAD_QUERIES_AT]);
    }
    attend_part(c, part, page, atLimit, &ahead);
    page += fields[PART_PAGES];
    done++;
  }
  finish_parts(c, head, done, atLimit);
}

static void *hold(JNIEnv *env, jarray array) {
  return (*env)->GetPrimitiveArrayCritical(env, array, NULL);
}

static void release(JNIEnv *env, jarray array, const void *held, jint mode) {
  if (held) {
    (*env)->ReleasePrimitiveArrayCritical(env, array, (void *)held, mode);
  }
}

JNIEXPORT jboolean JNICALL Java_dev_kvfreeze_device_cpu_NativeDecodeAttention_attendParts(
    JNIEnv *env, jclass owner, jfloatArray queries, jfloatArray out, jintArray heads, jintArray parts, jint from, jint to,
    jintArray run, jint slabsAt, jint slabCount, jobjectArray slabs, jfloatArray results, jfloatArray masses, jint pageMassesAt,
    jfloatArray scratch, jint stride, jint headSize, jint pageTokens, jint group, jfloat scale) {
  // References first: no other call is allowed while an array is held.
  jint used[MAX_SLABS];
  jobject references[MAX_SLABS];
  const int32_t *held[MAX_SLABS];
  (*env)->GetIntArrayRegion(env, run, slabsAt, slabCount, used);
  for (int i = 0; i < slabCount; i++) {
    references[i] = (*env)->GetObjectArrayElement(env, slabs, used[i]);
  }
  int complete = 1;
  int taken = 0;
  while (taken < slabCount) {
    held[taken] = hold(env, references[taken]);
    complete &= held[taken++] != NULL;
  }
  Call c = {.slabs = held, .from = from, .to = to, .headSize = headSize, .words = headSize / 2,
            .pageTokens = pageTokens, .group = group, .stride = stride, .scale = scale};
  const jint *runHeld = hold(env, run);
  c.parts = hold(env, parts);
  c.heads = hold(env, heads);
  c.queries = hold(env, queries);
  c.out = hold(env, out);
  c.results = hold(env, results);
  c.masses = hold(env, masses);
  float *scratchHeld = hold(env, scratch);
  complete &= runHeld && c.parts && c.heads && c.queries && c.out && c.results && c.masses && scratchHeld;
  if (complete) {
    c.run = runHeld;
    c.pages = c.run + (size_t)(to - from) * RUN_FIELDS;
    c.pageMasses = c.masses + pageMassesAt;
    c.scaled = scratchHeld;
    c.scores = scratchHeld + (size_t)group * headSize;
    attend_parts(&c);
  }
  release(env, scratch, scratchHeld, JNI_ABORT);
  release(env, masses, c.masses, 0);
  release(env, results, c.results, 0);
  release(env, out, c.out, 0);
  release(env, queries, c.queries, JNI_ABORT);
  release(env, heads, c.heads, 0);
  release(env, parts, c.parts, JNI_ABORT);
  release(env, run, runHeld, JNI_ABORT);
  while (taken > 0) {
    taken--;
    release(env, references[taken], held[taken], JNI_ABORT);
  }
  return complete ? JNI_TRUE : JNI_FALSE;
}
