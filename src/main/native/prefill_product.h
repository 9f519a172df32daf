// The inner product of prefill attention, in registers.

#ifndef KVFREEZE_PREFILL_PRODUCT_H
#define KVFREEZE_PREFILL_PRODUCT_H

#include <stddef.h>

#include "vectors.h"

enum {
  LANES = 16,
  // Rows, and vectors of columns, that one product keeps in registers.
#ifdef __AVX512F__
  PRODUCT_ROWS = 12,
  PRODUCT_VECTORS = 2
#else
  PRODUCT_ROWS = 6,
  PRODUCT_VECTORS = 1
#endif
};

// Loops that the compiler unrolls, for what they index to be registers.
#define EACH_ROW(r) _Pragma("clang loop unroll(full)") for (int r = 0; r < PRODUCT_ROWS; r++)
#define EACH_VECTOR(v) _Pragma("clang loop unroll(full)") for (int v = 0; v < PRODUCT_VECTORS; v++)

// A function that adds to sums[row][column] the sum over k of a[row][k] times b[k][column]; the vectors of b's columns are
// b_stride elements apart. What an element is, load, broadcast and accumulate know.
#define PRODUCT(name, Element, Sum, Vector, load, broadcast, accumulate)                                               \
  INLINE void name(const Element *a, int a_stride, const Element *b, size_t b_stride, int count,                       \
                   Sum sums[PRODUCT_ROWS][PRODUCT_VECTORS]) {                                                          \
    _Pragma("clang loop unroll_count(4)")                                                                              \
    for (int k = 0; k < count; k++) {                                                                                  \
      Vector columns[PRODUCT_VECTORS];                                                                                 \
      EACH_VECTOR(v) {                                                                                                 \
        columns[v] = load(b + v * b_stride + (size_t)k * LANES);                                                       \
      }                                                                                                                \
      EACH_ROW(r) {                                                                                                    \
        const Vector factor = broadcast(a[(size_t)r * a_stride + k]);                                                  \
        EACH_VECTOR(v) {                                                                                               \
          sums[r][v] = accumulate(sums[r][v], factor, columns[v]);                                                     \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
  }

INLINE void load_sums(const float *from, int stride, __m512 sums[PRODUCT_ROWS][PRODUCT_VECTORS]) {
  EACH_ROW(r) {
    EACH_VECTOR(v) {
      sums[r][v] = _mm512_loadu_ps(from + (size_t)r * stride + v * LANES);
    }
  }
}

INLINE void store_sums(__m512 sums[PRODUCT_ROWS][PRODUCT_VECTORS], float *to, int stride) {
  EACH_ROW(r) {
    EACH_VECTOR(v) {
      _mm512_storeu_ps(to + (size_t)r * stride + v * LANES, sums[r][v]);
    }
  }
}

#endif
