// Scores of decode attention with keys of 8 bits: queries are rounded to whole numbers, too.

#ifndef KVFREEZE_DECODE_BYTE_KEYS_H
#define KVFREEZE_DECODE_BYTE_KEYS_H

#include "decode_call.h"
#include "int8_words.h"

// Queries times keys of 8 bits are numbers of 16 bits in two planes of 8, high times 128 plus low.
enum { PLANES = 2, PLANE_BITS = 7 };

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

// Of a query's numbers by word: what they are divided by, and the largest of a group of words.
typedef struct {
  float inverses[LANES];
  float units[GROUPS];
} ByteUnits;

static ByteUnits byte_units(const Call *c, const float *query) {
  const int words = c->headSize / QUARTERS, each = words / GROUPS;
  float largest[MOST_NUMBER_WORDS];
  for (int j = 0; j < words; j += LANES) {
    // As whole numbers, so that NaN is the largest.
    __m512i sizes = _mm512_setzero_si512();
    for (int part = 0; part < QUARTERS; part++) {
      const __m512 number = _mm512_mul_ps(_mm512_loadu_ps(query + part * words + j), _mm512_set1_ps(c->scale));
      sizes = _mm512_max_epi32(sizes, _mm512_castps_si512(_mm512_abs_ps(number)));
    }
    _mm512_storeu_ps(largest + j, _mm512_castsi512_ps(sizes));
  }
  ByteUnits units = {{0}, {0}};
  for (int group = 0; group < GROUPS; group++) {
    float most = largest[group * each];
    for (int j = 1; j < each; j++) {
      const float other = largest[group * each + j];
      most = other > most || other != other ? other : most;
    }
    const float steps = 127 << PLANE_BITS;
    if (most < INFINITY && most >= 0x1p-100f) {
      units.units[group] = most / steps;
      units.inverses[group] = c->scale * (steps / most);
    } else if (!(most < 0x1p-100f)) {
      // Not a number, or infinite: so are the scores.
      units.units[group] = NAN;
    }
  }
  return units;
}

// One of count queries by the scale, as whole numbers in two planes of bytes.
static void scale_query(const Call *c, const float *query, int count, int32_t *bytes, int32_t *begins, float *units) {
  const int words = c->headSize / QUARTERS, each = words / GROUPS;
  const ByteUnits found = byte_units(c, query);
  for (int group = 0; group < GROUPS; group++) {
    units[group * count] = found.units[group];
    begins[group * count * PLANES] = begins[group * count * PLANES + 1] = 0;
  }
  const __m512 inverses = _mm512_loadu_ps(found.inverses);
  const __m512i byte = _mm512_set1_epi32(0xff);
  for (int j = 0; j < words; j += LANES) {
    const __m512 inverse = _mm512_permutexvar_ps(groups_from(j, words), inverses);
    __m512i high = _mm512_setzero_si512(), low = high, highSum = high, lowSum = high;
    for (int part = 0; part < QUARTERS; part++) {
      const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(query + part * words + j), inverse));
      // The low one is from -64 to 63.
      const __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(64)), PLANE_BITS);
      const __m512i lower = _mm512_sub_epi32(whole, _mm512_slli_epi32(upper, PLANE_BITS));
      const __m512i place = _mm512_set1_epi32(8 * part);
      high = _mm512_or_si512(high, _mm512_sllv_epi32(_mm512_and_si512(upper, byte), place));
      low = _mm512_or_si512(low, _mm512_sllv_epi32(_mm512_and_si512(lower, byte), place));
      highSum = _mm512_add_epi32(highSum, upper);
      lowSum = _mm512_add_epi32(lowSum, lower);
    }
    int32_t numbers[PLANES][LANES], sums[PLANES][LANES];
    _mm512_storeu_si512(numbers[0], high);
    _mm512_storeu_si512(numbers[1], low);
    _mm512_storeu_si512(sums[0], highSum);
    _mm512_storeu_si512(sums[1], lowSum);
    for (int k = 0; k < LANES; k++) {
      for (int plane = 0; plane < PLANES; plane++) {
        bytes[(j + k) * count * PLANES + plane] = numbers[plane][k];
        begins[(j + k) / each * count * PLANES + plane] += KEY_OFFSET * sums[plane][k];
      }
    }
  }
}

// The queries of a head by the scale, as byte_products reads them.
static void scale_bytes(const Call *c, const float *queries) {
  for (int first = 0; first < c->group; first += MOST_QUERIES) {
    const int count = c->group - first < MOST_QUERIES ? c->group - first : MOST_QUERIES;
    const ByteQueries q = byte_queries(c, c->scaled + (size_t)first * c->headSize, count);
    for (int g = 0; g < count; g++) {
      scale_query(c, queries + (size_t)(first + g) * c->headSize, count, (int32_t *)q.bytes + g * PLANES,
                  (int32_t *)q.begins + g * PLANES, (float *)q.units + g);
    }
  }
}

// Dot products of queries with blocks of transposed keys: whole numbers, and a scale for each group of words.
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

#endif
