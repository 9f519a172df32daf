// The exponential of the softmaxes, 16 at a time: the polynomial and the limit of VectorMath.java.

#ifndef KVFREEZE_SOFTMAX_H
#define KVFREEZE_SOFTMAX_H

#include <math.h>
#include <stddef.h>

#include "vectors.h"

// Differences below minus this weigh exactly nothing.
#define EXP_LIMIT 87.0f

INLINE __m512 exp_held(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.9875691500e-4f), r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

// exp(x) for x <= 0, exactly 0 from the limit on; NaN stays NaN. atLimit is exp_held(-EXP_LIMIT).
INLINE __m512 exp_negative(__m512 x, __m512 atLimit) {
  // The instruction gives its second operand where one is NaN.
  const __m512 held = _mm512_max_ps(_mm512_set1_ps(-EXP_LIMIT), x);
  return _mm512_sub_ps(exp_held(held), atLimit);
}

INLINE __m512 exp_at_limit(void) {
  return exp_held(_mm512_set1_ps(-EXP_LIMIT));
}

// No weight for the scores [from, to).
static inline void hide(float *scores, int from, int to) {
  for (int t = from; t < to; t++) {
    scores[t] = -INFINITY;
  }
}

// Weights of up to 16 parts of a softmax: exp(maximum of the part - maximum of all).
static inline void part_weights(const float *maxima, size_t stride, int count, float max, __m512 atLimit,
                                float *weights) {
  for (int i = 0; i < 16; i++) {
    weights[i] = i < count ? maxima[i * stride] : -INFINITY;
  }
  _mm512_storeu_ps(weights, exp_negative(_mm512_sub_ps(_mm512_loadu_ps(weights), _mm512_set1_ps(max)), atLimit));
}

#endif
