// Weighted values of decode attention: weights times the values of a part.

#ifndef KVFREEZE_DECODE_VALUES_H
#define KVFREEZE_DECODE_VALUES_H

#include "decode_call.h"
#include "int8_words.h"

// Registers of words whose values are summed together; both halves of each, for up to four queries.
#ifdef __AVX512F__
enum { MOST_REGISTERS = 2 };
#else
enum { MOST_REGISTERS = 1 };
#endif

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
  const __mmask16 mask = first_lanes(last);
  const size_t rowBytes = (size_t)c->words * 4;
  const float *weights = c->scores + (size_t)v->query * c->stride;
  for (int p = 0; p < v->pages; p++) {
    const jint *page = page_of(c, v->firstPage + p);
    const int32_t *row = values_of(c, page) + v->column;
    const char *ahead = a ? advance(c, a, row) : NULL;
    for (int t = 0; t < page[PAGE_TOKENS]; t++) {
      if (ahead) {
        for (size_t i = 0; i < rowBytes; i += LINE_BYTES) {
          _mm_prefetch(ahead + i, _MM_HINT_T1);
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

// Quarters of 8-bit values that are summed in one pass, where registers allow.
#ifdef __AVX512F__
enum { QUARTERS_TOGETHER = 4 };
#else
enum { QUARTERS_TOGETHER = 1 };
#endif

// Sixteen words of 8-bit values times the weights of some queries, quarters from the first on.
INLINE void byte_sums(const Call *c, const ValueBlock *v, Ahead *a, const int first, const int count) {
  const int words = c->headSize / QUARTERS;
  const size_t rowBytes = (size_t)c->words * 4;
  const __m512i groups = groups_from(v->column, words);
  __m512 sums[MOST_QUERIES * QUARTERS_TOGETHER];
#pragma clang loop unroll(full)
  for (int i = 0; i < count * QUARTERS_TOGETHER; i++) {
    sums[i] = _mm512_setzero_ps();
  }
  const float *weights = c->scores + (size_t)v->query * c->stride;
  for (int p = 0; p < v->pages; p++) {
    const jint *page = page_of(c, v->firstPage + p);
    const int32_t *row = values_of(c, page);
    const char *ahead = a ? advance(c, a, row) : NULL;
    for (int t = 0; t < page[PAGE_TOKENS]; t++) {
      for (size_t i = 0; ahead && i < rowBytes; i += LINE_BYTES) {
        _mm_prefetch(ahead + t * rowBytes + i, _MM_HINT_T1);
      }
      const __m512i bytes = _mm512_loadu_si512(row + v->column);
      const __m512 scale = scales_of_words(row + words, groups);
      __m512 x[QUARTERS_TOGETHER];
#pragma clang loop unroll(full)
      for (int part = 0; part < QUARTERS_TOGETHER; part++) {
        x[part] = high_quarter(bytes, first + part);
      }
#pragma clang loop unroll(full)
      for (int g = 0; g < count; g++) {
        const __m512 weight = _mm512_mul_ps(scale, _mm512_set1_ps(weights[(size_t)g * c->stride]));
#pragma clang loop unroll(full)
        for (int part = 0; part < QUARTERS_TOGETHER; part++) {
          const int i = g * QUARTERS_TOGETHER + part;
          sums[i] = _mm512_fmadd_ps(weight, x[part], sums[i]);
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
    for (int part = 0; part < QUARTERS_TOGETHER; part++) {
      const __m512 sum = _mm512_mul_ps(_mm512_set1_ps(HIGH_BYTE_UNIT), sums[g * QUARTERS_TOGETHER + part]);
      _mm512_storeu_ps(to + (first + part) * words, sum);
    }
  }
}

INLINE void byte_quarters(const Call *c, const ValueBlock *v, Ahead *a, const int count) {
#pragma clang loop unroll(full)
  for (int first = 0; first < QUARTERS; first += QUARTERS_TOGETHER) {
    byte_sums(c, v, first ? NULL : a, first, count);
  }
}

static void sum_bytes(const Call *c, ValueBlock *v, Ahead *a) {
  for (; v->column < c->headSize / QUARTERS; v->column += LANES) {
    for (v->query = 0; v->query < c->group; v->query += MOST_QUERIES) {
      Ahead *first = v->column == 0 && v->query == 0 ? a : NULL;
      switch (c->group - v->query) {
        case 1: byte_quarters(c, v, first, 1); break;
        case 2: byte_quarters(c, v, first, 2); break;
        case 3: byte_quarters(c, v, first, 3); break;
        default: byte_quarters(c, v, first, 4); break;
      }
    }
  }
}

static void sum_values(const Call *c, int firstPage, int pages, float *sums, Ahead *a) {
  ValueBlock v = {firstPage, pages, 0, 0, sums};
  if (c->format == FORMAT_INT8) {
    sum_bytes(c, &v, a);
    return;
  }
  for (; c->words - v.column > (MOST_REGISTERS - 1) * LANES; v.column += MOST_REGISTERS * LANES) {
    value_columns(c, &v, a, MOST_REGISTERS);
  }
  if (MOST_REGISTERS == 2 && v.column < c->words) {
    value_columns(c, &v, a, 1);
  }
}

#endif
