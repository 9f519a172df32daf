// What lies between the products of a prefill chunk: RoPE of neighbouring dimensions, and keys and values into pages.
// The caller has checked all bounds.

#include <jni.h>
#include <stdint.h>

#include "bfloat16.h"
#include "held_arrays.h"

// As in NativeElementwise.java.
enum { FORMAT_F32 = 0 };

// Pairs (2i, 2i + 1) of one head; products and sums are rounded apart, as the scalar twin does.
static void rotate_head(float *x, const float *cosines, const float *sines, int pairs) {
  const __m512i doubled = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (int i = 0; i < pairs; i += 8) {
    const __mmask16 lanes = first_lanes(2 * (pairs - i));
    const __mmask8 angles = (__mmask8)first_lanes(pairs - i);
    const __m256 c8 = _mm256_maskz_loadu_ps(angles, cosines + i);
    const __m256 s8 = _mm256_maskz_loadu_ps(angles, sines + i);
    const __m512 c = _mm512_permutexvar_ps(doubled, _mm512_castps256_ps512(c8));
    const __m512 s = _mm512_permutexvar_ps(doubled, _mm512_castps256_ps512(s8));
    const __m512 own = _mm512_maskz_loadu_ps(lanes, x + 2 * i);
    const __m512 other = _mm512_permute_ps(own, 0xb1);
    const __m512 straight = _mm512_mul_ps(own, c);
    const __m512 crossed = _mm512_mul_ps(other, s);
    const __m512 turned = _mm512_mask_sub_ps(_mm512_add_ps(straight, crossed), 0x5555, straight, crossed);
    _mm512_mask_storeu_ps(x + 2 * i, lanes, turned);
  }
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeElementwise_rotateNeighbours0(
    JNIEnv *env, jclass owner, jfloatArray x_array, jint at, jint columns, jint head_size, jint rows,
    jfloatArray cosine_array, jfloatArray sine_array, jint table, jint pairs) {
  HeldArrays held = {.env = env};
  float *x = hold(&held, x_array);
  const float *cosines = hold(&held, cosine_array);
  const float *sines = hold(&held, sine_array);
  for (int row = 0; row < rows && !held.failed; row++) {
    const float *c = cosines + table + (int64_t)row * pairs;
    const float *s = sines + table + (int64_t)row * pairs;
    float *values = x + at + (int64_t)row * columns;
    for (int head = 0; head < columns; head += head_size) {
      rotate_head(values + head, c, s, pairs);
    }
  }
  release(&held);
}

// 16 words of a token: float32 bits, or two bfloat16 that lie half a head apart.
static __m512i encode(const float *x, int words, int word, __mmask16 lanes, int format) {
  const __m512 low = _mm512_maskz_loadu_ps(lanes, x + word);
  if (format == FORMAT_F32) {
    return _mm512_castps_si512(low);
  }
  const __m512 high = _mm512_maskz_loadu_ps(lanes, x + words + word);
  return _mm512_or_si512(bfloat_bits(low), _mm512_slli_epi32(bfloat_bits(high), 16));
}

// Keys lie word by word, a page's tokens beside each other; values token by token.
static void write_page(const float *keys, int key_stride, const float *values, int value_stride, int tokens,
                       int words, int page_tokens, int format, int32_t *key_words, int32_t *value_words) {
  const __m512i apart = _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(page_tokens));
  for (int token = 0; token < tokens; token++) {
    const float *key = keys + (int64_t)token * key_stride;
    const float *value = values + (int64_t)token * value_stride;
    for (int word = 0; word < words; word += 16) {
      const __mmask16 lanes = first_lanes(words - word);
      const __m512i key_bits = encode(key, words, word, lanes, format);
      _mm512_mask_i32scatter_epi32(key_words + (int64_t)word * page_tokens + token, lanes, apart, key_bits, 4);
      const __m512i value_bits = encode(value, words, word, lanes, format);
      _mm512_mask_storeu_epi32(value_words + (int64_t)token * words + word, lanes, value_bits);
    }
  }
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeElementwise_writePage0(
    JNIEnv *env, jclass owner, jfloatArray key_array, jint key_at, jint key_stride, jfloatArray value_array,
    jint value_at, jint value_stride, jint tokens, jintArray slab_array, jint slab_key_at, jint slab_value_at,
    jint words, jint page_tokens, jint format) {
  HeldArrays held = {.env = env};
  const float *keys = hold(&held, key_array);
  const float *values = hold(&held, value_array);
  int32_t *slab = hold(&held, slab_array);
  if (!held.failed) {
    write_page(keys + key_at, key_stride, values + value_at, value_stride, tokens, words, page_tokens, format,
               slab + slab_key_at, slab + slab_value_at);
  }
  release(&held);
}
