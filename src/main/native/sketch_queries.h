// Queries prepared for the sketches: turned like the keys or laid out by code, rounded, and their waves with the centre of the keys.

#ifndef KVFREEZE_SKETCH_QUERIES_H
#define KVFREEZE_SKETCH_QUERIES_H

#include "sketch_call.h"

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

// The query by code: its dimension, times the code's weight.
static void gather(const Call *c, const float *x, int head, float *gathered) {
  const jint *dimensions = c->dimensions + (size_t)head * c->codes;
  const float *weights = c->weights + (size_t)head * c->codes;
  for (int i = 0; i < c->codes; i++) {
    gathered[i] = x[dimensions[i]] * weights[i];
  }
}

// Where in 64 codes the four bytes lie that a shift brings to the low ends of a word's bytes.
static void set_byte_order(Call *c) {
  for (int i = 0; i < 64; i++) {
    const int byte = i % 4, shift = i / 4 % c->shifts, word = i / 4 / c->shifts;
    c->order[i] = (uint8_t)(word * 4 * c->shifts + byte * c->shifts + shift);
  }
}

// Rounds a rotated query to 16 bits and lays its bytes out as the codes come out of their words.
static void round_query(Call *c, const float *rotated, int query) {
  const int padded = (c->codes + 63) / 64 * 64;
  float values[MOST_SIZE];
  __m512 top = _mm512_setzero_ps(), square = _mm512_setzero_ps();
  for (int i = 0; i < padded; i += LANES) {
    const int left = c->codes - i;
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
  const __m512i order = _mm512_loadu_si512(c->order);
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
static void scale_waves(Call *c, int query, float *a, float *b) {
  __m512 sum = _mm512_setzero_ps(), top = _mm512_setzero_ps();
  for (int i = 0; i < c->waveStride; i += LANES) {
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
  for (int i = 0; i < c->waveStride; i += LANES) {
    _mm512_storeu_ps(a + i, _mm512_mul_ps(_mm512_loadu_ps(a + i), inverse));
    _mm512_storeu_ps(b + i, _mm512_mul_ps(_mm512_loadu_ps(b + i), inverse));
  }
}

static void set_centre(Call *c, const float *query, const float *centre, int g) {
  const int fast = c->waves, slow = c->set[SET_SLOW], width = wave_width(c);
  const jint *pairs = c->set + SET_PAIRS;
  float *a = c->amplitudes + (size_t)g * 2 * width;
  float *b = a + width;
  for (int i = 0; i < 2 * width; i += LANES) {
    _mm512_storeu_ps(a + i, _mm512_setzero_ps());
  }
  make_waves(query, centre, pairs, pairs + fast, fast, a, b);
  scale_waves(c, g, a, b);
  const jint *slowPairs = pairs + 2 * fast;
  make_waves(query, centre, slowPairs, slowPairs + slow, slow, a + c->waveStride, b + c->waveStride);
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
    if (c->rotation) {
      rotate(c, query, rotated);
    } else {
      gather(c, query, head, rotated);
    }
    round_query(c, rotated, g);
    c->numbers[g].excess *= c->errorVariance / 2;
    c->numbers[g].waveUnit = 0;
    if (fields[HEAD_TURNS]) {
      set_centre(c, query, c->centres + (size_t)head * c->headSize, g);
    }
  }
  c->coarse = -1;
  c->heightBlocks[0] = c->heightBlocks[1] = -1;
  c->factorBlocks[0] = c->factorBlocks[1] = -1;
}

#endif
