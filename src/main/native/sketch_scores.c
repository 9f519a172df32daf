// Scores of key sketches for single rows: see NativeSketchScores.java, which lays out the arrays and checks all bounds,
// KeySketches.java for the codes and CentreScores.java for the waves of the centre.

#include "java_arrays.h"
#include "sketch_products.h"
#include "sketch_queries.h"

// Hides tokens of the runs that are not of the part's pages or before the window.
static void hide_others(const Call *c, const jint *run, const jint *columns, int pages, float *scores) {
  const int pageTokens = c->set[SET_PAGE_TOKENS];
  const int tokens = run[RUN_RUNS] * RUN;
  hide(scores, 0, run[RUN_HIDDEN]);
  if (pages * pageTokens == tokens) {
    return;
  }
  int end = columns[0] + pageTokens;
  for (int i = 1; i < pages; i++) {
    hide(scores, end, columns[i]);
    end = columns[i] + pageTokens;
  }
  hide(scores, end, tokens);
}

// exp(x) for x <= 0 within 5e-6 of it, far finer than the sketches; NaN stays NaN.
INLINE __m512 exp_about(__m512 x) {
  const __m512 log2e = _mm512_set1_ps(1.44269504f);
  // Adding it leaves the nearest whole number in the low bits.
  const __m512 rounder = _mm512_set1_ps(12582912.0f);
  // The instruction gives its second operand where one is NaN.
  const __m512 held = _mm512_max_ps(_mm512_set1_ps(-EXP_LIMIT), x);
  const __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(held, log2e, rounder), rounder);
  const __m512 r = _mm512_fmsub_ps(held, log2e, n);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.00957009211f), r, _mm512_set1_ps(0.0559178596f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.240247451f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693121815f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.999999261f));
  return _mm512_scalef_ps(p, n);
}

// Scores of one query become exp(score - maximum), hidden ones next to nothing. The maximum passes over NaN, the sum does not.
static void weigh(float *scores, int tokens, float *maximum, float *total) {
  __m512 max = _mm512_set1_ps(-INFINITY);
  for (int t = 0; t < tokens; t += LANES) {
    max = _mm512_max_ps(_mm512_loadu_ps(scores + t), max);
  }
  *maximum = _mm512_reduce_max_ps(max);
  const __m512 top = _mm512_set1_ps(*maximum == -INFINITY ? 0 : *maximum);
  __m512 sum = _mm512_setzero_ps();
  for (int t = 0; t < tokens; t += LANES) {
    const __m512 weight = exp_about(_mm512_sub_ps(_mm512_loadu_ps(scores + t), top));
    _mm512_storeu_ps(scores + t, weight);
    sum = _mm512_add_ps(sum, weight);
  }
  *total = _mm512_reduce_add_ps(sum);
}

// Of 128-bit lanes the sums, for four registers: lane k of the result's lane i is of register i.
INLINE __m512 sums_of_quarters(const float *rows) {
  const __m512 a = _mm512_loadu_ps(rows), b = _mm512_loadu_ps(rows + 16);
  const __m512 d = _mm512_loadu_ps(rows + 32), e = _mm512_loadu_ps(rows + 48);
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 de = _mm512_add_ps(_mm512_unpacklo_ps(d, e), _mm512_unpackhi_ps(d, e));
  const __m512d x = _mm512_castps_pd(ab), y = _mm512_castps_pd(de);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

INLINE __m512 sums_of_halves(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// Sums of 16 pages of 16 tokens that follow each other.
INLINE __m512 sums_of_pages(const float *weights) {
  const __m512 first = sums_of_halves(sums_of_quarters(weights), sums_of_quarters(weights + 64));
  const __m512 second = sums_of_halves(sums_of_quarters(weights + 128), sums_of_quarters(weights + 192));
  return sums_of_halves(first, second);
}

static void sum_pages(const Call *c, const jint *columns, int pages, const float *weights, float *sums) {
  const int pageTokens = c->set[SET_PAGE_TOKENS];
  int i = 0;
  if (pageTokens == LANES) {
    for (; i + LANES <= pages; i += LANES) {
      _mm512_storeu_ps(sums + i, sums_of_pages(weights + columns[i]));
    }
  }
  for (; i < pages; i++) {
    __m512 sum = _mm512_setzero_ps();
    for (int t = 0; t < pageTokens; t += LANES) {
      sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(first_lanes(pageTokens - t), weights + columns[i] + t));
    }
    sums[i] = _mm512_reduce_add_ps(sum);
  }
}

static void add_masses(const Call *c, int part, int g, float factor) {
  const jint *fields = part_of(c, part);
  const float *sums = c->sums + fields[PART_SUMS_AT] + (size_t)g * fields[PART_PAGES];
  float *masses = c->pageMasses + fields[PART_PAGES_AT];
  const __m512 factors = _mm512_set1_ps(factor);
  for (int i = 0; i < fields[PART_PAGES]; i += LANES) {
    const __mmask16 mask = first_lanes(fields[PART_PAGES] - i);
    const __m512 before = g == 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, masses + i);
    _mm512_mask_storeu_ps(masses + i, mask, _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, sums + i), factors, before));
  }
}

// Joins the softmaxes of a head's parts, in their order.
static void merge_head(const Call *c, int head, __m512 atLimit) {
  const jint *fields = c->heads + (size_t)head * HEAD_FIELDS;
  const int first = fields[HEAD_FIRST_PART];
  const int end = first + fields[HEAD_PARTS];
  float weights[LANES];
  for (int g = 0; g < c->group; g++) {
    float max = -INFINITY;
    for (int i = first; i < end; i++) {
      max = fmaxf(max, result_of(c, i)[g]);
    }
    max = max == -INFINITY ? 0 : max;
    float total = 0;
    for (int i = first; i < end; i += LANES) {
      part_weights(result_of(c, i) + g, 2 * (size_t)c->group, end - i, max, atLimit, weights);
      for (int k = 0; k < LANES && i + k < end; k++) {
        total += result_of(c, i + k)[c->group + g] * weights[k];
      }
    }
    const float share = c->shares[head] / (total * (float)c->group);
    for (int i = first; i < end; i += LANES) {
      part_weights(result_of(c, i) + g, 2 * (size_t)c->group, end - i, max, atLimit, weights);
      for (int k = 0; k < LANES && i + k < end; k++) {
        add_masses(c, i + k, g, weights[k] * share);
      }
    }
  }
}

// Whoever ends a head's last part joins its parts.
static void finish_parts(const Call *c, int head, int count, __m512 atLimit) {
  if (__atomic_sub_fetch(&c->heads[(size_t)head * HEAD_FIELDS + HEAD_REMAINING], count, __ATOMIC_ACQ_REL) == 0) {
    merge_head(c, head, atLimit);
  }
}

static void score_parts(Call *c) {
  const __m512 atLimit = exp_at_limit();
  const jint *lists = c->run + (size_t)(c->to - c->from) * RUN_FIELDS;
  int head = -1;
  int done = 0;
  for (int part = c->from; part < c->to; part++) {
    const jint *fields = part_of(c, part);
    const jint *run = c->run + (size_t)(part - c->from) * RUN_FIELDS;
    prefetch_first(c, fields[PART_HEAD], lists, run[RUN_RUNS]);
    if (fields[PART_HEAD] != head) {
      if (done) {
        finish_parts(c, head, done, atLimit);
      }
      head = fields[PART_HEAD];
      done = 0;
      set_queries(c, head);
    }
    const int pages = fields[PART_PAGES];
    const jint *columns = lists + run[RUN_RUNS];
    score_runs(c, head, lists, run[RUN_RUNS]);
    float *result = result_of(c, part);
    for (int g = 0; g < c->group; g++) {
      float *scores = c->scores + (size_t)g * c->stride;
      hide_others(c, run, columns, pages, scores);
      weigh(scores, run[RUN_RUNS] * RUN, result + g, result + c->group + g);
      sum_pages(c, columns, pages, scores, c->sums + fields[PART_SUMS_AT] + (size_t)g * pages);
    }
    lists = columns + pages;
    done++;
  }
  finish_parts(c, head, done, atLimit);
}

static void lay_out_scratch(Call *c, float *scratch) {
  const size_t group = (size_t)c->group;
  c->bytes = (int32_t *)scratch;
  scratch += group * 2 * (size_t)(c->words * c->shifts);
  c->amplitudes = scratch;
  scratch += group * 2 * (size_t)wave_width(c);
  c->turned = scratch;
  scratch += group * 2 * (size_t)wave_width(c);
  c->factors = (int32_t *)scratch;
  scratch += 2 * group * (size_t)c->waveStride;
  c->heights = scratch;
  scratch += 2 * group * LANES;
  c->scores = scratch;
}

JNIEXPORT jboolean JNICALL Java_dev_kvfreeze_device_cpu_NativeSketchScores_scoreParts(
    JNIEnv *env, jclass owner, jintArray settings, jfloatArray queries, jintArray heads, jintArray parts, jint from,
    jint to, jint firstHead, jint headCount, jintArray run, jint stride, jobjectArray bits, jobjectArray steps,
    jfloatArray centres, jfloatArray shares, jfloatArray rotation, jintArray dimensions, jfloatArray weights,
    jfloatArray turns, jintArray shapes, jfloatArray results, jfloatArray sums, jfloatArray pageMasses,
    jfloatArray scratch, jfloat scale, jfloat errorVariance) {
  // References first: no other call is allowed while an array is held.
  jobject bitArrays[MOST_HEADS], stepArrays[MOST_HEADS];
  const int32_t *bitsHeld[MOST_HEADS];
  const uint16_t *stepsHeld[MOST_HEADS];
  for (int i = 0; i < headCount; i++) {
    bitArrays[i] = (*env)->GetObjectArrayElement(env, bits, firstHead + i);
    stepArrays[i] = (*env)->GetObjectArrayElement(env, steps, firstHead + i);
  }
  int complete = 1;
  for (int i = 0; i < headCount; i++) {
    bitsHeld[i] = hold(env, bitArrays[i]);
    stepsHeld[i] = hold(env, stepArrays[i]);
    complete &= bitsHeld[i] && stepsHeld[i];
  }
  Call c = {.bits = bitsHeld, .steps = stepsHeld, .from = from, .to = to, .firstHead = firstHead, .stride = stride,
            .scale = scale, .errorVariance = errorVariance};
  c.set = hold(env, settings);
  c.queries = hold(env, queries);
  c.heads = hold(env, heads);
  c.parts = hold(env, parts);
  c.run = hold(env, run);
  c.centres = hold(env, centres);
  c.shares = hold(env, shares);
  c.rotation = rotation ? hold(env, rotation) : 0;
  c.dimensions = hold(env, dimensions);
  c.weights = hold(env, weights);
  c.turns = hold(env, turns);
  c.shapes = hold(env, shapes);
  c.results = hold(env, results);
  c.sums = hold(env, sums);
  c.pageMasses = hold(env, pageMasses);
  float *scratchHeld = hold(env, scratch);
  complete &= c.set && c.queries && c.heads && c.parts && c.run && c.centres && c.shares && c.turns;
  complete &= (c.rotation || !rotation) && c.dimensions && c.weights;
  complete &= c.shapes && c.results && c.sums && c.pageMasses && scratchHeld;
  if (complete) {
    c.group = c.set[SET_GROUP];
    c.headSize = c.set[SET_HEAD_SIZE];
    c.shifts = 8 / c.set[SET_PLANES];
    c.codes = c.set[SET_CODES];
    c.words = (c.codes * c.set[SET_PLANES] + 31) / 32;
    c.waves = c.set[SET_FAST];
    c.waveStride = c.set[SET_WAVE_STRIDE];
    c.slowStride = c.set[SET_SLOW_STRIDE];
    lay_out_scratch(&c, scratchHeld);
    set_byte_order(&c);
    score_parts(&c);
  }
  release(env, scratch, scratchHeld, JNI_ABORT);
  release(env, pageMasses, c.pageMasses, 0);
  release(env, sums, c.sums, 0);
  release(env, results, c.results, 0);
  release(env, shapes, c.shapes, JNI_ABORT);
  release(env, turns, c.turns, JNI_ABORT);
  release(env, weights, c.weights, JNI_ABORT);
  release(env, dimensions, c.dimensions, JNI_ABORT);
  if (rotation) {
    release(env, rotation, c.rotation, JNI_ABORT);
  }
  release(env, shares, c.shares, JNI_ABORT);
  release(env, centres, c.centres, JNI_ABORT);
  release(env, run, c.run, JNI_ABORT);
  release(env, parts, c.parts, JNI_ABORT);
  release(env, heads, c.heads, 0);
  release(env, queries, c.queries, JNI_ABORT);
  release(env, settings, c.set, JNI_ABORT);
  for (int i = headCount - 1; i >= 0; i--) {
    release(env, stepArrays[i], stepsHeld[i], JNI_ABORT);
    release(env, bitArrays[i], bitsHeld[i], JNI_ABORT);
  }
  return complete ? JNI_TRUE : JNI_FALSE;
}
