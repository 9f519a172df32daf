// The softmax: scores to weights, and to final probabilities.

#ifndef KVFREEZE_PREFILL_SOFTMAX_AMX_H
#define KVFREEZE_PREFILL_SOFTMAX_AMX_H

#include "prefill_tile_amx.h"

static inline __mmask16 visible(const Tile *tile, int vector, int first, int last) {
  const __m512i positions = _mm512_load_si512(tile->positions + vector * LANES);
  return _mm512_cmple_epi32_mask(positions, _mm512_set1_epi32(last)) &
         _mm512_cmpge_epi32_mask(positions, _mm512_set1_epi32(first));
}

// What of the present block a row tile sees.
static Span span_of(const Tile *tile, int row_tile) {
  const int first_row = row_tile * LANES;
  const int last_row = first_row + LANES - 1 < tile->rows ? first_row + LANES - 1 : tile->rows - 1;
  const int low = position_of(tile->call, first_row), high = position_of(tile->call, last_row);
  const int window_low = window_start(tile->call, low), window_high = window_start(tile->call, high);
  Span span = {STEPS, 0, 0};
  for (int step = 0; step < STEPS; step++) {
    const int v = 2 * step;
    if (visible(tile, v, window_low, high) | visible(tile, v + 1, window_low, high)) {
      span.from = step < span.from ? step : span.from;
      span.to = step + 1;
    }
  }
  for (int v = 2 * span.from; v < 2 * span.to; v++) {
    span.masked |= visible(tile, v, window_high, low) != 0xffff;
  }
  return span;
}

// 2^x for x <= 0, to within 1.5e-7 of it; 0 for -infinity. A polynomial takes what x has over its floor, SCALEF the
// floor itself.
static inline __m512 power_of_two(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(0.0018671300495043397f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009017030708491802f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05579991266131401f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24016444385051727f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931512951850891f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
  return _mm512_scalef_ps(p, x);
}

#define LOG2_E 1.44269504088896341f

// Where weights are exp(score - max): what to take from score * log2(e). Rows that have seen nothing have no maximum.
static inline float exponent_of(float max) {
  return max == -__builtin_inff() ? 0 : max * LOG2_E;
}

static __attribute__((noinline)) float rescale(const Tile *tile, int row, float max, float new_max) {
  float *sums = sums_of(tile, row);
  const __m512 scaled = _mm512_set1_ps(max == -__builtin_inff() ? max : max * LOG2_E - new_max * LOG2_E);
  const __m512 factor = power_of_two(scaled);
  for (int d = 0; d < tile->value_tiles; d++) {
    _mm512_store_ps(sums + d * TILE, _mm512_mul_ps(_mm512_load_ps(sums + d * TILE), factor));
  }
  tile->maxima[row] = new_max;
  return new_max;
}

// Turns a row's scores of the span into weights relative to its new maximum; rescales its sums where that has grown.
static inline __attribute__((always_inline)) void soften_row(
    const Tile *tile, int row, const float *scores, uint32_t *weights, int from, int to, int masked) {
  const float *in = scores + row % LANES * LANES;
  const int position = position_of(tile->call, row);
  const int first = window_start(tile->call, position);
  __m512 s[COLUMN_TILES];
  __m512 largest = _mm512_set1_ps(-__builtin_inff());
  for (int v = 2 * from; v < 2 * to; v++) {
    s[v] = _mm512_load_ps(in + v * TILE);
    if (masked) {
      s[v] = _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), visible(tile, v, first, position), s[v]);
    }
    largest = _mm512_max_ps(s[v], largest);
  }
  float max = tile->maxima[row];
  if (_mm512_cmp_ps_mask(largest, _mm512_set1_ps(max), _CMP_GT_OQ)) {
    max = rescale(tile, row, max, _mm512_reduce_max_ps(largest));
  }
  const __m512 exponent = _mm512_set1_ps(exponent_of(max));
  uint32_t *out = weights + row % LANES * LANES;
  for (int step = from; step < to; step++) {
    const __m512 a = power_of_two(_mm512_fmsub_ps(s[2 * step], _mm512_set1_ps(LOG2_E), exponent));
    const __m512 b = power_of_two(_mm512_fmsub_ps(s[2 * step + 1], _mm512_set1_ps(LOG2_E), exponent));
    _mm512_store_si512(out + step * TILE, (__m512i)_mm512_cvtne2ps_pbh(b, a));
  }
}

static void soften_part(const Tile *tile, int row, const float *scores, uint32_t *weights, Span span) {
  soften_row(tile, row, scores, weights, span.from, span.to, 1);
}

static inline void soften(const Tile *tile, int row, Span span, const float *scores, uint32_t *weights) {
  if (span.from == 0 && span.to == STEPS && !span.masked) {
    soften_row(tile, row, scores, weights, 0, STEPS, 0);
  } else if (span.from < span.to) {
    soften_part(tile, row, scores, weights, span);
  }
}

// Adds the final probabilities of a row to those of the block's columns.
static void add_row_mass(const Tile *tile, int row, Span span, const float *scores, float *column_mass) {
  const float total = sums_of(tile, row)[(tile->value_tiles - 1) * TILE];
  const __m512 factor = _mm512_set1_ps(total == 0 ? 0 : 1 / total);
  const __m512 exponent = _mm512_set1_ps(exponent_of(tile->maxima[row]));
  const int position = position_of(tile->call, row);
  const int first = window_start(tile->call, position);
  scores += row % LANES * LANES;
  for (int v = 2 * span.from; v < 2 * span.to; v++) {
    const __m512 score = _mm512_load_ps(scores + v * TILE);
    const __m512 weight = power_of_two(_mm512_fmsub_ps(score, _mm512_set1_ps(LOG2_E), exponent));
    const __m512 seen = _mm512_maskz_mov_ps(visible(tile, v, first, position), weight);
    float *to = column_mass + v * LANES;
    _mm512_storeu_ps(to, _mm512_fmadd_ps(seen, factor, _mm512_loadu_ps(to)));
  }
}

#endif
