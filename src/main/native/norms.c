// Norms of rows and sums of exponentials of logits. The order of every sum is that of the source: the Vector API leaves
// it open how lanes are added up, so that Java's bits change when a kernel is compiled. The caller has checked all bounds.

#include <jni.h>
#include <math.h>
#include <stdint.h>

#include "held_arrays.h"
#include "softmax.h"

static double square_sum(const float *x, int count) {
  __m512 first = _mm512_setzero_ps();
  __m512 second = _mm512_setzero_ps();
  for (int i = 0; i < count; i += 32) {
    const __m512 a = _mm512_maskz_loadu_ps(first_lanes(count - i), x + i);
    first = _mm512_fmadd_ps(a, a, first);
    if (count - i > 16) {
      const __m512 b = _mm512_maskz_loadu_ps(first_lanes(count - i - 16), x + i + 16);
      second = _mm512_fmadd_ps(b, b, second);
    }
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(first, second));
}

// out = x / rms(x) * gain; out may be x.
static void norm_row(const float *x, int count, const float *gain, float epsilon, float *out) {
  const __m512 factor = _mm512_set1_ps((float)(1 / sqrt(square_sum(x, count) / count + epsilon)));
  for (int i = 0; i < count; i += 16) {
    const __mmask16 lanes = first_lanes(count - i);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), factor);
    _mm512_mask_storeu_ps(out + i, lanes, _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(lanes, gain + i)));
  }
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeNorms_norm0(JNIEnv *env, jclass owner, jfloatArray x_array,
                                                                      jint at, jint rows, jint columns,
                                                                      jfloatArray gain_array, jfloat epsilon,
                                                                      jfloatArray out_array, jint out_at) {
  HeldArrays held = {.env = env};
  const float *x = hold(&held, x_array);
  const float *gain = hold(&held, gain_array);
  float *out = hold(&held, out_array);
  for (int64_t row = 0; row < rows && !held.failed; row++) {
    norm_row(x + at + row * columns, columns, gain, epsilon, out + out_at + row * columns);
  }
  release(&held);
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeNorms_addNorm0(
    JNIEnv *env, jclass owner, jfloatArray residual_array, jfloatArray addend_array, jfloatArray addend_gain_array,
    jint at, jint rows, jint columns, jfloatArray gain_array, jfloat epsilon, jfloatArray normed_array) {
  HeldArrays held = {.env = env};
  float *residual = hold(&held, residual_array);
  float *addend = hold(&held, addend_array);
  const float *addend_gain = addend_gain_array ? hold(&held, addend_gain_array) : 0;
  const float *gain = hold(&held, gain_array);
  float *normed = hold(&held, normed_array);
  for (int64_t row = 0; row < rows && !held.failed; row++) {
    float *sum = residual + at + row * columns;
    float *added = addend + at + row * columns;
    if (addend_gain) {
      norm_row(added, columns, addend_gain, epsilon, added);
    }
    for (int i = 0; i < columns; i += 16) {
      const __mmask16 lanes = first_lanes(columns - i);
      _mm512_mask_storeu_ps(sum + i, lanes, _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, sum + i),
                                                          _mm512_maskz_loadu_ps(lanes, added + i)));
    }
    norm_row(sum, columns, gain, epsilon, normed + at + row * columns);
  }
  release(&held);
}

JNIEXPORT jfloat JNICALL Java_dev_kvfreeze_device_cpu_NativeNorms_maximum0(JNIEnv *env, jclass owner,
                                                                           jfloatArray x_array, jint at, jint count) {
  HeldArrays held = {.env = env};
  const float *x = hold(&held, x_array);
  float maximum = -INFINITY;
  if (!held.failed) {
    __m512 largest = _mm512_set1_ps(-INFINITY);
    __mmask16 not_numbers = 0;
    for (int i = 0; i < count; i += 16) {
      const __m512 value = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), first_lanes(count - i), x + at + i);
      not_numbers = _kor_mask16(not_numbers, _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q));
      largest = _mm512_max_ps(largest, value);
    }
    maximum = not_numbers ? NAN : _mm512_reduce_max_ps(largest);
  }
  release(&held);
  return maximum;
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeNorms_moments0(JNIEnv *env, jclass owner,
                                                                         jfloatArray x_array, jint at, jint count,
                                                                         jfloat max, jfloatArray sums_array) {
  HeldArrays held = {.env = env};
  const float *x = hold(&held, x_array);
  float *sums = hold(&held, sums_array);
  if (!held.failed) {
    const __m512 at_limit = exp_at_limit();
    __m512 sum = _mm512_setzero_ps();
    __m512 moment = _mm512_setzero_ps();
    for (int i = 0; i < count; i += 16) {
      const __mmask16 lanes = first_lanes(count - i);
      const __m512 value = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), lanes, x + at + i);
      const __m512 below = _mm512_min_ps(_mm512_set1_ps(EXP_LIMIT), _mm512_sub_ps(_mm512_set1_ps(max), value));
      const __m512 share = exp_negative(_mm512_sub_ps(_mm512_setzero_ps(), below), at_limit);
      sum = _mm512_add_ps(sum, share);
      moment = _mm512_fmadd_ps(share, below, moment);
    }
    sums[0] = _mm512_reduce_add_ps(sum);
    sums[1] = _mm512_reduce_add_ps(moment);
  }
  release(&held);
}
