// Attention of single rows over paged bfloat16 keys and values: see NativeDecodeAttention.java, which lays out the
// arrays and checks all bounds, and PageLayout.java for a page's words.

#include "decode_keys.h"
#include "decode_values.h"
#include "java_arrays.h"

// The queries of a head by the scale, in the order in which the keys' kernel reads them.
static void scale_queries(const Call *c, const float *queries) {
  if (c->pageTokens == 1) {
    for (int i = 0; i < c->group * c->headSize; i++) {
      c->scaled[i] = queries[i] * c->scale;
    }
    return;
  }
  if (c->format == FORMAT_INT8) {
    scale_bytes(c, queries);
    return;
  }
  const int half = c->headSize / 2;
  for (int first = 0; first < c->group; first += MOST_QUERIES) {
    const int count = c->group - first < MOST_QUERIES ? c->group - first : MOST_QUERIES;
    float *to = c->scaled + (size_t)first * c->headSize;
    for (int g = 0; g < count; g++) {
      const float *q = queries + (size_t)(first + g) * c->headSize;
      for (int j = 0; j < half; j++) {
        to[2 * (j * count + g)] = q[j] * c->scale;
        to[2 * (j * count + g) + 1] = q[j + half] * c->scale;
      }
    }
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
        const __mmask16 mask = first_lanes(tokens - t);
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, weights + (size_t)g * c->stride + t));
      }
      *masses++ = _mm512_reduce_add_ps(sum);
    }
    weights += tokens;
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
      part_weights(result_of(c, i) + g, result_stride(c), end - i, max, atLimit, weights);
      for (int k = 0; k < LANES && i + k < end; k++) {
        total += result_of(c, i + k)[c->group + g] * weights[k];
      }
    }
    float *out = c->out + head[HEAD_OUT_AT] + (size_t)g * c->headSize;
    for (int d = 0; d < c->headSize; d += LANES) {
      _mm512_storeu_ps(out + d, _mm512_setzero_ps());
    }
    for (int i = first; i < end; i += LANES) {
      part_weights(result_of(c, i) + g, result_stride(c), end - i, max, atLimit, weights);
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

JNIEXPORT jboolean JNICALL Java_dev_kvfreeze_device_cpu_NativeDecodeAttention_attendParts(
    JNIEnv *env, jclass owner, jfloatArray queries, jfloatArray out, jintArray heads, jintArray parts, jint from, jint to,
    jintArray run, jint slabsAt, jint slabCount, jobjectArray slabs, jfloatArray results, jfloatArray masses, jint pageMassesAt,
    jfloatArray scratch, jint stride, jint headSize, jint format, jint pageTokens, jint group, jfloat scale) {
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
  Call c = {.slabs = held, .from = from, .to = to, .headSize = headSize, .format = format,
            .words = token_words(headSize, format), .pageTokens = pageTokens, .group = group, .stride = stride, .scale = scale};
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
