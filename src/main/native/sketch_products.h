// Scores of runs of sketched tokens.

#ifndef KVFREEZE_SKETCH_PRODUCTS_H
#define KVFREEZE_SKETCH_PRODUCTS_H

#include "sketch_call.h"

// The waves at the beginning of the coarse entry that a block lies in.
static void turn_to(Call *c, int block) {
  const int coarse = block / FINE_BLOCKS;
  if (c->coarse == coarse) {
    return;
  }
  const int width = wave_width(c);
  const int fine = 2 * FINE_BLOCKS * c->waveStride + 2 * FINE_COLUMNS * c->slowStride;
  const float *cosines = c->turns + fine + (size_t)coarse * 2 * width;
  for (int i = 0; i < width; i += LANES) {
    const __m512 cosine = _mm512_loadu_ps(cosines + i);
    const __m512 sine = _mm512_loadu_ps(cosines + width + i);
    for (int g = 0; g < c->group; g++) {
      const size_t at = (size_t)g * 2 * width + i;
      const __m512 a = _mm512_loadu_ps(c->amplitudes + at);
      const __m512 b = _mm512_loadu_ps(c->amplitudes + at + width);
      _mm512_storeu_ps(c->turned + at, _mm512_fmadd_ps(a, cosine, _mm512_mul_ps(b, sine)));
      _mm512_storeu_ps(c->turned + at + width, _mm512_fmsub_ps(b, cosine, _mm512_mul_ps(a, sine)));
    }
  }
  c->coarse = coarse;
}

// The parabolas that the slow waves make in four blocks, [query][block][TERMS], in one of two places.
static void set_heights(Call *c, int block, int place) {
  turn_to(c, block);
  const int slow = c->set[SET_SLOW], width = wave_width(c);
  const size_t quadrature = (size_t)c->slowStride * FINE_COLUMNS;
  const float *columns = c->turns + 2 * FINE_BLOCKS * c->waveStride + block % FINE_BLOCKS * TERMS;
  for (int g = 0; g < c->group; g++) {
    const float *waves = c->turned + (size_t)g * 2 * width + c->waveStride;
    const float *column = columns;
    __m512 inPhase = _mm512_setzero_ps(), inQuadrature = _mm512_setzero_ps();
    for (int i = 0; i < slow; i++) {
      inPhase = _mm512_fmadd_ps(_mm512_set1_ps(waves[i]), _mm512_loadu_ps(column), inPhase);
      const __m512 across = _mm512_loadu_ps(column + quadrature);
      inQuadrature = _mm512_fmadd_ps(_mm512_set1_ps(waves[width + i]), across, inQuadrature);
      column += FINE_COLUMNS;
    }
    const __m512 heights = _mm512_add_ps(inPhase, inQuadrature);
    _mm512_storeu_ps(c->heights + (size_t)(place * c->group + g) * LANES, heights);
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
  turn_to(c, block);
  const int stride = c->waveStride, width = wave_width(c);
  const float *cosines = c->turns + (size_t)(block % FINE_BLOCKS) * stride;
  int32_t *factors = c->factors + (size_t)place * c->group * stride;
  for (int i = 0; i < stride; i += LANES) {
    const __m512 cosine = _mm512_loadu_ps(cosines + i);
    const __m512 sine = _mm512_loadu_ps(cosines + FINE_BLOCKS * stride + i);
    for (int g = 0; g < c->group; g++) {
      const float *waves = c->turned + (size_t)g * 2 * width + i;
      const __m512 a = _mm512_loadu_ps(waves);
      const __m512 b = _mm512_loadu_ps(waves + width);
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
  if (turns) {
    for (int i = 0; i < c->waves; i++) {
      __m512i shape[2];
#pragma clang loop unroll(full)
      for (int p = 0; p < 2; p++) {
        shape[p] = _mm512_loadu_si512(c->shapes + (size_t)i * BLOCK + r->run[p] % RUNS_OF_BLOCK * RUN);
      }
#pragma clang loop unroll(full)
      for (int g = 0; g < count; g++) {
        const size_t at = (size_t)(query + g) * c->waveStride + i;
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

// The words of a run's first codes; those of the next codes are BLOCK further on.
INLINE const int32_t *words_of(const Call *c, const int32_t *bits, int run) {
  return bits + (size_t)run / RUNS_OF_BLOCK * c->words * BLOCK + run % RUNS_OF_BLOCK * RUN;
}

// Only some of the runs are asked for, so the processor does not see what comes next.
INLINE void prefetch_run(const Call *c, const int32_t *bits, const uint16_t *steps, int run) {
  const int32_t *words = words_of(c, bits, run);
  for (int w = 0; w < c->words; w++) {
    _mm_prefetch((const char *)(words + (size_t)w * BLOCK), _MM_HINT_T0);
  }
  _mm_prefetch((const char *)(steps + (size_t)run * RUN), _MM_HINT_T0);
}

static void prefetch_first(const Call *c, int head, const jint *runs, int count) {
  for (int i = 0; i < count && i < AHEAD_RUNS; i++) {
    prefetch_run(c, c->bits[head - c->firstHead], c->steps[head - c->firstHead], runs[i]);
  }
}

static void score_runs(Call *c, int head, const jint *runs, int count) {
  const int turns = c->heads[(size_t)head * HEAD_FIELDS + HEAD_TURNS];
  const int32_t *bits = c->bits[head - c->firstHead];
  const uint16_t *steps = c->steps[head - c->firstHead];
  int height = 0, factor = 0;
  for (int i = 0; i < count; i += 2) {
    RunPair r = {.scores = c->scores + (size_t)i * RUN};
    for (int p = 0; p < 2; p++) {
      const int run = runs[i + p < count ? i + p : i];
      r.run[p] = run;
      r.bits[p] = words_of(c, bits, run);
      r.steps[p] = steps + (size_t)run * RUN;
      if (i + p + AHEAD_RUNS < count) {
        prefetch_run(c, bits, steps, runs[i + p + AHEAD_RUNS]);
      }
      if (turns) {
        height = heights_of(c, run, height);
        factor = factors_of(c, run, factor);
        r.heights[p] = c->heights + (size_t)height * c->group * LANES;
        r.factors[p] = c->factors + (size_t)factor * c->group * c->waveStride;
      }
    }
    two_runs(c, &r, turns);
  }
}

#endif
