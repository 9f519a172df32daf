// Scores of key sketches for single rows: see NativeSketchScores.java, which lays out the arrays and checks all bounds,
// KeySketches.java for the codes and CentreScores.java for the waves of the centre.

#include <immintrin.h>
#include <jni.h>
#include <math.h>
#include <stdint.h>

#include "softmax_avx512.h"

// As in NativeSketchScores.java.
enum { HEAD_FIRST_PART, HEAD_PARTS, HEAD_QUERIES_AT, HEAD_PAGES_AT, HEAD_TURNS, HEAD_REMAINING, HEAD_FIELDS };
enum { PART_HEAD, PART_PAGES, PART_SUMS_AT, PART_PAGES_AT, PART_FIELDS };
enum { RUN_RUNS, RUN_HIDDEN, RUN_FIELDS };
enum {
  SET_HEAD_SIZE,
  SET_PLANES,
  SET_PAGE_TOKENS,
  SET_GROUP,
  SET_ROTATION_STRIDE,
  SET_FAST,
  SET_WAVE_STRIDE,
  SET_SLOW,
  SET_COLUMNS,
  SET_PAIRS
};

enum { LANES = 16, RUN = 16, BLOCK = 64, RUNS_OF_BLOCK = BLOCK / RUN, TERMS = 4 };
// How far the prefetches are ahead of the arithmetic, in blocks of tokens that follow each other.
enum { AHEAD_BLOCKS = 4 };
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
  const float *rotation;
  const float *cosines;
  const float *sines;
  const float *parabolas;
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
  int words;
  int shifts;
  int waves;
  int stride;
  float scale;
  float errorVariance;
  // Scratch: [chunk][word * shifts][query][plane] of four bytes, and [query][waveStride] in phase and in quadrature.
  int32_t *bytes;
  float *inPhase;
  float *inQuadrature;
  float *slow;
  float *heights;
  int32_t *factors;
  float *scores;
  QueryNumbers numbers[MOST_GROUP];
  // Of the two places of heights, the first of the four blocks they are of; of those of factors, the block.
  int heightBlocks[2];
  int factorBlocks[2];
} Call;

INLINE const jint *part_of(const Call *c, int part) {
  return c->parts + (size_t)part * PART_FIELDS;
}

// Maxima and totals of a part by query.
INLINE float *result_of(const Call *c, int part) {
  return c->results + (size_t)part * 2 * c->group;
}

INLINE __mmask16 first_lanes(int count) {
  return _cvtu32_mask16(count >= LANES ? 0xffff : (1u << count) - 1);
}

// The rotated query of one row: sum over j of x[j] * rotation[j][i].
static void rotate(const Call *c, const float *x, float *rotated) {
  const int stride = c->set[SET_ROTATION_STRIDE];
  for (int i = 0; i < stride; i += 2 * LANES) {
    __m512 a = _mm512_setzero_ps(), b = _mm512_setzero_ps();
    for (int j = 0; j < c->headSize; j++) {
      const __m512 factor = _mm512_set1_ps(x[j]);
      const float *row = c->rotation + (size_t)j * stride + i;
      a = _mm512_fmadd_ps(factor, _mm512_loadu_ps(row), a);
      b = _mm512_fmadd_ps(factor, _mm512_loadu_ps(row + LANES), b);
    }
    _mm512_storeu_ps(rotated + i, a);
    _mm512_storeu_ps(rotated + i + LANES, b);
  }
}

// Where in 64 dimensions the four bytes lie that a shift brings to the low ends of a word's bytes.
static __m512i byte_order(int planes) {
  uint8_t order[64];
  const int shifts = 8 / planes;
  for (int i = 0; i < 64; i++) {
    const int byte = i % 4, shift = i / 4 % shifts, word = i / 4 / shifts;
    order[i] = (uint8_t)(word * 4 * shifts + byte * shifts + shift);
  }
  return _mm512_loadu_si512(order);
}

// Rounds a rotated query to 16 bits and lays its bytes out as the codes come out of their words.
static void round_query(Call *c, const float *rotated, int query) {
  const int padded = (c->headSize + 63) / 64 * 64;
  float values[MOST_SIZE];
  __m512 top = _mm512_setzero_ps(), square = _mm512_setzero_ps();
  for (int i = 0; i < padded; i += LANES) {
    const int left = c->headSize - i;
    const __m512 x = _mm512_maskz_loadu_ps(left > 0 ? first_lanes(left) : 0, rotated + i);
    _mm512_storeu_ps(values + i, x);
    top = _mm512_max_ps(_mm512_abs_ps(x), top);
    square = _mm512_fmadd_ps(x, x, square);
  }
  const float largest = _mm512_reduce_max_ps(top);
  const float unit = largest > 0 ? largest / (127 * 128 + 63) : 0;
  const __m512 inverse = _mm512_set1_ps(unit > 0 ? 1 / unit : 0);
  uint8_t high[MOST_SIZE], low[MOST_SIZE];
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < padded; i += LANES) {
    const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values + i), inverse));
    const __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(64)), 7);
    const __m512i lower = _mm512_sub_epi32(q, _mm512_slli_epi32(upper, 7));
    _mm_storeu_si128((__m128i *)(high + i), _mm512_cvtepi32_epi8(upper));
    _mm_storeu_si128((__m128i *)(low + i), _mm512_cvtepi32_epi8(lower));
    sum = _mm512_add_epi32(sum, q);
  }
  const int chunk = query / MOST_QUERIES * MOST_QUERIES;
  const int count = c->group - chunk < MOST_QUERIES ? c->group - chunk : MOST_QUERIES;
  int32_t *to = c->bytes + (size_t)chunk * 2 * c->words * c->shifts + 2 * (query - chunk);
  const __m512i order = byte_order(c->set[SET_PLANES]);
  for (int i = 0, at = 0; i < padded; i += 64) {
    int32_t upper[16], lower[16];
    _mm512_storeu_si512(upper, _mm512_permutexvar_epi8(order, _mm512_loadu_si512(high + i)));
    _mm512_storeu_si512(lower, _mm512_permutexvar_epi8(order, _mm512_loadu_si512(low + i)));
    for (int k = 0; k < 16 && at < c->words * c->shifts; k++, at++) {
      to[(size_t)at * 2 * count] = upper[k];
      to[(size_t)at * 2 * count + 1] = lower[k];
    }
  }
  // A code u stands for 2u - (2^planes - 1).
  const float codes = (float)((1 << c->set[SET_PLANES]) - 1);
  c->numbers[query].unit = 2 * unit;
  c->numbers[query].offset = -codes * unit * (float)_mm512_reduce_add_epi32(sum);
  c->numbers[query].excess = _mm512_reduce_add_ps(square);
}

// What pairs of dimensions of a query and the centre make together: in phase and in quadrature.
static void make_waves(const float *query, const float *centre, const jint *firsts, const jint *seconds, int count,
                       float *inPhase, float *inQuadrature) {
  for (int i = 0; i < count; i += LANES) {
    const __mmask16 mask = first_lanes(count - i);
    const __m512i first = _mm512_maskz_loadu_epi32(mask, firsts + i);
    const __m512i second = _mm512_maskz_loadu_epi32(mask, seconds + i);
    const __m512 zero = _mm512_setzero_ps();
    const __m512 q1 = _mm512_mask_i32gather_ps(zero, mask, first, query, 4);
    const __m512 q2 = _mm512_mask_i32gather_ps(zero, mask, second, query, 4);
    const __m512 c1 = _mm512_mask_i32gather_ps(zero, mask, first, centre, 4);
    const __m512 c2 = _mm512_mask_i32gather_ps(zero, mask, second, centre, 4);
    _mm512_mask_storeu_ps(inPhase + i, mask, _mm512_fmadd_ps(q1, c1, _mm512_mul_ps(q2, c2)));
    _mm512_mask_storeu_ps(inQuadrature + i, mask, _mm512_fmsub_ps(q2, c1, _mm512_mul_ps(q1, c2)));
  }
}

// Fast waves become numbers of 16 bits whose sum over all waves, times the shapes, stays within 32.
static void scale_waves(Call *c, int query) {
  const int stride = c->set[SET_WAVE_STRIDE];
  float *a = c->inPhase + (size_t)query * stride;
  float *b = c->inQuadrature + (size_t)query * stride;
  __m512 sum = _mm512_setzero_ps(), top = _mm512_setzero_ps();
  for (int i = 0; i < stride; i += LANES) {
    const __m512 x = _mm512_loadu_ps(a + i), y = _mm512_loadu_ps(b + i);
    const __m512 length = _mm512_sqrt_ps(_mm512_fmadd_ps(x, x, _mm512_mul_ps(y, y)));
    sum = _mm512_add_ps(sum, length);
    top = _mm512_max_ps(length, top);
  }
  const float total = _mm512_reduce_add_ps(sum);
  const float unit = fmaxf(_mm512_reduce_max_ps(top) / 32000, total / 90000);
  // Not a number must stay one.
  c->numbers[query].waveUnit = total == total ? unit / SHAPE_UNIT : total;
  const __m512 inverse = _mm512_set1_ps(unit > 0 ? 1 / unit : 0);
  for (int i = 0; i < stride; i += LANES) {
    _mm512_storeu_ps(a + i, _mm512_mul_ps(_mm512_loadu_ps(a + i), inverse));
    _mm512_storeu_ps(b + i, _mm512_mul_ps(_mm512_loadu_ps(b + i), inverse));
  }
}

static void set_centre(Call *c, const float *query, const float *centre, int g) {
  const int fast = c->waves, stride = c->set[SET_WAVE_STRIDE], slow = c->set[SET_SLOW];
  const jint *pairs = c->set + SET_PAIRS;
  for (int i = fast / LANES * LANES; i < stride; i++) {
    c->inPhase[(size_t)g * stride + i] = 0;
    c->inQuadrature[(size_t)g * stride + i] = 0;
  }
  make_waves(query, centre, pairs, pairs + fast, fast, c->inPhase + (size_t)g * stride,
             c->inQuadrature + (size_t)g * stride);
  scale_waves(c, g);
  float *waves = c->slow + (size_t)g * 2 * slow;
  make_waves(query, centre, pairs + 2 * fast, pairs + 2 * fast + slow, slow, waves, waves + slow);
}

// Prepares the queries of a head's group.
static void set_queries(Call *c, int head) {
  const jint *fields = c->heads + (size_t)head * HEAD_FIELDS;
  float query[MOST_SIZE], rotated[MOST_SIZE];
  for (int g = 0; g < c->group; g++) {
    const float *from = c->queries + fields[HEAD_QUERIES_AT] + (size_t)g * c->headSize;
    for (int d = 0; d < c->headSize; d++) {
      query[d] = from[d] * c->scale;
    }
    rotate(c, query, rotated);
    round_query(c, rotated, g);
    c->numbers[g].excess *= c->errorVariance / 2;
    c->numbers[g].waveUnit = 0;
    if (fields[HEAD_TURNS]) {
      set_centre(c, query, c->centres + (size_t)head * c->headSize, g);
    }
  }
  c->heightBlocks[0] = c->heightBlocks[1] = -1;
  c->factorBlocks[0] = c->factorBlocks[1] = -1;
}

// The parabolas that the slow waves make in four blocks, [query][block][TERMS], in one of two places.
static void set_heights(Call *c, int block, int place) {
  const int slow = 2 * c->set[SET_SLOW], columns = c->set[SET_COLUMNS];
  for (int g = 0; g < c->group; g++) {
    const float *waves = c->slow + (size_t)g * slow;
    const float *column = c->parabolas + (size_t)block * TERMS;
    __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
    // Each wave has a quadrature, so their number is even.
    for (int i = 0; i < slow; i += 2) {
      even = _mm512_fmadd_ps(_mm512_set1_ps(waves[i]), _mm512_loadu_ps(column), even);
      odd = _mm512_fmadd_ps(_mm512_set1_ps(waves[i + 1]), _mm512_loadu_ps(column + columns), odd);
      column += 2 * (size_t)columns;
    }
    _mm512_storeu_ps(c->heights + (size_t)(place * c->group + g) * LANES, _mm512_add_ps(even, odd));
  }
  c->heightBlocks[place] = block;
}

// The place of a run's parabolas, made if need be; the place kept stays as it is.
static int heights_of(Call *c, int run, int kept) {
  const int block = run / RUNS_OF_BLOCK / 4 * 4;
  for (int place = 0; place < 2; place++) {
    if (c->heightBlocks[place] == block) {
      return place;
    }
  }
  set_heights(c, block, 1 - kept);
  return 1 - kept;
}

// The fast waves at a block's first token, pairs of 16-bit numbers, in phase and in quadrature: in one of two places.
static void turn_waves(Call *c, int block, int place) {
  const int stride = c->set[SET_WAVE_STRIDE];
  const size_t table = (size_t)block * RUNS_OF_BLOCK * stride;
  int32_t *factors = c->factors + (size_t)place * c->group * stride;
  for (int i = 0; i < stride; i += LANES) {
    const __m512 cosine = _mm512_loadu_ps(c->cosines + table + i);
    const __m512 sine = _mm512_loadu_ps(c->sines + table + i);
    for (int g = 0; g < c->group; g++) {
      const __m512 a = _mm512_loadu_ps(c->inPhase + (size_t)g * stride + i);
      const __m512 b = _mm512_loadu_ps(c->inQuadrature + (size_t)g * stride + i);
      const __m512i f = _mm512_cvtps_epi32(_mm512_fmadd_ps(a, cosine, _mm512_mul_ps(b, sine)));
      const __m512i h = _mm512_cvtps_epi32(_mm512_fmsub_ps(b, cosine, _mm512_mul_ps(a, sine)));
      const __m512i pair = _mm512_mask_blend_epi16(_cvtu32_mask32(0xaaaaaaaau), f, _mm512_slli_epi32(h, 16));
      _mm512_storeu_si512(factors + (size_t)g * stride + i, pair);
    }
  }
  c->factorBlocks[place] = block;
}

static int factors_of(Call *c, int run, int kept) {
  const int block = run / RUNS_OF_BLOCK;
  for (int place = 0; place < 2; place++) {
    if (c->factorBlocks[place] == block) {
      return place;
    }
  }
  turn_waves(c, block, 1 - kept);
  return 1 - kept;
}

// Two runs of tokens, or the same one twice.
typedef struct {
  const int32_t *bits[2];
  const uint16_t *steps[2];
  const float *heights[2];
  const int32_t *factors[2];
  int run[2];
  float *scores;
} RunPair;

// How the centre of the keys turns over two runs.
enum { FIXED, TURNS, TURNS_IN_ONE_BLOCK };

INLINE void pair_scores(const Call *c, const RunPair *r, const int planes, const int turns, int query,
                        const int count) {
  const __m512i mask = _mm512_set1_epi32(planes == 1 ? 0x01010101 : 0x03030303);
  // The topmost code of a word has its highest bit flipped, see KeySketches.
  const __m512i flipped = _mm512_set1_epi32((int)0x80000000);
  __m512i high[2 * MOST_QUERIES], low[2 * MOST_QUERIES];
#pragma clang loop unroll(full)
  for (int i = 0; i < 2 * count; i++) {
    high[i] = low[i] = _mm512_setzero_si512();
  }
  const int32_t *q = c->bytes + (size_t)query * 2 * c->words * (8 / planes);
  for (int w = 0; w < c->words; w++) {
    __m512i word[2];
#pragma clang loop unroll(full)
    for (int p = 0; p < 2; p++) {
      word[p] = _mm512_xor_si512(_mm512_loadu_si512(r->bits[p] + (size_t)w * BLOCK), flipped);
    }
#pragma clang loop unroll(full)
    for (int shift = 0; shift < 8; shift += planes) {
      __m512i codes[2];
#pragma clang loop unroll(full)
      for (int p = 0; p < 2; p++) {
        codes[p] = _mm512_and_si512(_mm512_srli_epi32(word[p], shift), mask);
      }
#pragma clang loop unroll(full)
      for (int g = 0; g < count; g++) {
        const __m512i upper = _mm512_set1_epi32(q[2 * g]);
        const __m512i lower = _mm512_set1_epi32(q[2 * g + 1]);
#pragma clang loop unroll(full)
        for (int p = 0; p < 2; p++) {
          high[2 * g + p] = _mm512_dpbusd_epi32(high[2 * g + p], codes[p], upper);
          low[2 * g + p] = _mm512_dpbusd_epi32(low[2 * g + p], codes[p], lower);
        }
      }
      q += 2 * count;
    }
  }
  __m512i wave[2 * MOST_QUERIES];
#pragma clang loop unroll(full)
  for (int i = 0; i < 2 * count; i++) {
    wave[i] = _mm512_setzero_si512();
  }
  const int waveStride = c->set[SET_WAVE_STRIDE];
  if (turns) {
    for (int i = 0; i < c->waves; i++) {
      __m512i shape[2];
#pragma clang loop unroll(full)
      for (int p = 0; p < 2; p++) {
        shape[p] = _mm512_loadu_si512(c->shapes + (size_t)i * BLOCK + r->run[p] % RUNS_OF_BLOCK * RUN);
      }
#pragma clang loop unroll(full)
      for (int g = 0; g < count; g++) {
        const size_t at = (size_t)(query + g) * waveStride + i;
        const __m512i first = _mm512_set1_epi32(r->factors[0][at]);
        const __m512i second = turns == TURNS ? _mm512_set1_epi32(r->factors[1][at]) : first;
        wave[2 * g] = _mm512_dpwssd_epi32(wave[2 * g], shape[0], first);
        wave[2 * g + 1] = _mm512_dpwssd_epi32(wave[2 * g + 1], shape[1], second);
      }
    }
  }
  const __m512 lanes = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#pragma clang loop unroll(full)
  for (int p = 0; p < 2; p++) {
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)r->steps[p]));
    const __m512 step = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    const int block = r->run[p] / RUNS_OF_BLOCK;
    const float begin = (float)(r->run[p] % RUNS_OF_BLOCK * RUN) - (BLOCK - 1) / 2.0f;
    const __m512 place = _mm512_add_ps(lanes, _mm512_set1_ps(begin));
#pragma clang loop unroll(full)
    for (int g = 0; g < count; g++) {
      const QueryNumbers *n = &c->numbers[query + g];
      const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high[2 * g + p], 7), low[2 * g + p]);
      __m512 product = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(n->unit), _mm512_set1_ps(n->offset));
      product = _mm512_fnmadd_ps(_mm512_set1_ps(n->excess), step, product);
      __m512 score = _mm512_mul_ps(step, product);
      if (turns) {
        const float *h = r->heights[p] + (size_t)(query + g) * LANES + block % 4 * TERMS;
        __m512 parabola = _mm512_fmadd_ps(place, _mm512_set1_ps(h[2]), _mm512_set1_ps(h[1]));
        parabola = _mm512_fmadd_ps(place, parabola, _mm512_set1_ps(h[0]));
        score = _mm512_add_ps(score, parabola);
        score = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wave[2 * g + p]), _mm512_set1_ps(n->waveUnit), score);
      }
      _mm512_storeu_ps(r->scores + (size_t)(query + g) * c->stride + p * RUN, score);
    }
  }
}

INLINE void group_scores(const Call *c, const RunPair *r, const int planes, const int turns) {
  for (int g = 0; g < c->group; g += MOST_QUERIES) {
    switch (c->group - g) {
      case 1: pair_scores(c, r, planes, turns, g, 1); break;
      case 2: pair_scores(c, r, planes, turns, g, 2); break;
      case 3: pair_scores(c, r, planes, turns, g, 3); break;
      default: pair_scores(c, r, planes, turns, g, 4); break;
    }
  }
}

static void two_runs(const Call *c, const RunPair *r, int turns) {
  const int one = r->factors[0] == r->factors[1];
  if (c->set[SET_PLANES] == 2) {
    if (!turns) {
      group_scores(c, r, 2, FIXED);
    } else if (one) {
      group_scores(c, r, 2, TURNS_IN_ONE_BLOCK);
    } else {
      group_scores(c, r, 2, TURNS);
    }
  } else if (turns) {
    group_scores(c, r, 1, TURNS);
  } else {
    group_scores(c, r, 1, FIXED);
  }
}

static void score_runs(Call *c, int head, const jint *runs, int count) {
  const int turns = c->heads[(size_t)head * HEAD_FIELDS + HEAD_TURNS];
  const int32_t *bits = c->bits[head - c->firstHead];
  const uint16_t *steps = c->steps[head - c->firstHead];
  const size_t ahead = (size_t)AHEAD_BLOCKS * c->words * BLOCK;
  int height = 0, factor = 0;
  for (int i = 0; i < count; i += 2) {
    RunPair r = {.scores = c->scores + (size_t)i * RUN};
    for (int p = 0; p < 2; p++) {
      const int run = runs[i + p < count ? i + p : i];
      r.run[p] = run;
      r.bits[p] = bits + (size_t)run / RUNS_OF_BLOCK * c->words * BLOCK + run % RUNS_OF_BLOCK * RUN;
      r.steps[p] = steps + (size_t)run * RUN;
      for (int w = 0; w < c->words; w++) {
        _mm_prefetch((const char *)(r.bits[p] + ahead + (size_t)w * BLOCK), _MM_HINT_T0);
      }
      if (turns) {
        height = heights_of(c, run, height);
        factor = factors_of(c, run, factor);
        r.heights[p] = c->heights + (size_t)height * c->group * LANES;
        r.factors[p] = c->factors + (size_t)factor * c->group * c->set[SET_WAVE_STRIDE];
      }
    }
    _mm_prefetch((const char *)(r.steps[0] + (size_t)AHEAD_BLOCKS * BLOCK), _MM_HINT_T0);
    two_runs(c, &r, turns);
  }
}

static void hide(float *scores, int from, int to) {
  for (int t = from; t < to; t++) {
    scores[t] = -INFINITY;
  }
}

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

// Weights of up to 16 parts of a query: exp(maximum of the part - maximum of all).
static void part_weights(const Call *c, int first, int count, int g, float max, __m512 atLimit, float *weights) {
  for (int i = 0; i < LANES; i++) {
    weights[i] = i < count ? result_of(c, first + i)[g] : -INFINITY;
  }
  _mm512_storeu_ps(weights, exp_negative(_mm512_sub_ps(_mm512_loadu_ps(weights), _mm512_set1_ps(max)), atLimit));
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
      part_weights(c, i, end - i, g, max, atLimit, weights);
      for (int k = 0; k < LANES && i + k < end; k++) {
        total += result_of(c, i + k)[c->group + g] * weights[k];
      }
    }
    const float share = c->shares[head] / (total * (float)c->group);
    for (int i = first; i < end; i += LANES) {
      part_weights(c, i, end - i, g, max, atLimit, weights);
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

static void *hold(JNIEnv *env, jarray array) {
  return (*env)->GetPrimitiveArrayCritical(env, array, NULL);
}

static void release(JNIEnv *env, jarray array, const void *held, jint mode) {
  if (held) {
    (*env)->ReleasePrimitiveArrayCritical(env, array, (void *)held, mode);
  }
}

static void lay_out_scratch(Call *c, float *scratch) {
  const size_t group = (size_t)c->group, waveStride = (size_t)c->set[SET_WAVE_STRIDE];
  c->bytes = (int32_t *)scratch;
  scratch += group * 2 * (size_t)(c->words * c->shifts);
  c->inPhase = scratch;
  scratch += group * waveStride;
  c->inQuadrature = scratch;
  scratch += group * waveStride;
  c->factors = (int32_t *)scratch;
  scratch += 2 * group * waveStride;
  c->slow = scratch;
  scratch += group * 2 * (size_t)c->set[SET_SLOW];
  c->heights = scratch;
  scratch += 2 * group * LANES;
  c->scores = scratch;
}

JNIEXPORT jboolean JNICALL Java_dev_kvfreeze_device_cpu_NativeSketchScores_scoreParts(
    JNIEnv *env, jclass owner, jintArray settings, jfloatArray queries, jintArray heads, jintArray parts, jint from,
    jint to, jint firstHead, jint headCount, jintArray run, jint stride, jobjectArray bits, jobjectArray steps,
    jfloatArray centres, jfloatArray shares, jfloatArray rotation, jfloatArray cosines, jfloatArray sines,
    jfloatArray parabolas, jintArray shapes, jfloatArray results, jfloatArray sums, jfloatArray pageMasses,
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
  c.rotation = hold(env, rotation);
  c.cosines = hold(env, cosines);
  c.sines = hold(env, sines);
  c.parabolas = hold(env, parabolas);
  c.shapes = hold(env, shapes);
  c.results = hold(env, results);
  c.sums = hold(env, sums);
  c.pageMasses = hold(env, pageMasses);
  float *scratchHeld = hold(env, scratch);
  complete &= c.set && c.queries && c.heads && c.parts && c.run && c.centres && c.shares && c.rotation && c.cosines;
  complete &= c.sines && c.parabolas && c.shapes && c.results && c.sums && c.pageMasses && scratchHeld;
  if (complete) {
    c.group = c.set[SET_GROUP];
    c.headSize = c.set[SET_HEAD_SIZE];
    c.shifts = 8 / c.set[SET_PLANES];
    c.words = (c.headSize * c.set[SET_PLANES] + 31) / 32;
    c.waves = c.set[SET_FAST];
    lay_out_scratch(&c, scratchHeld);
    score_parts(&c);
  }
  release(env, scratch, scratchHeld, JNI_ABORT);
  release(env, pageMasses, c.pageMasses, 0);
  release(env, sums, c.sums, 0);
  release(env, results, c.results, 0);
  release(env, shapes, c.shapes, JNI_ABORT);
  release(env, parabolas, c.parabolas, JNI_ABORT);
  release(env, sines, c.sines, JNI_ABORT);
  release(env, cosines, c.cosines, JNI_ABORT);
  release(env, rotation, c.rotation, JNI_ABORT);
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
