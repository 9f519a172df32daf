// What lies between the products of a prefill chunk: RoPE of neighbouring dimensions, and keys and values into pages.
// The caller has checked all bounds.

#include <jni.h>
#include <stdint.h>

#include "int8_words.h"
#include "held_arrays.h"

// As in NativeElementwise.java.
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
  return bfloat_pair(low, high);
}

// Bits of floats.
enum { INFINITE = 0x7f800000, NOT_A_NUMBER = 0x7fc00000 };

// What numbers of one scale are multiplied by before they are rounded, and the scale's 16 bits.
INLINE uint32_t scale_for(int largest_bits, float *inverse) {
  const __m512 all = _mm512_castsi512_ps(_mm512_set1_epi32(largest_bits > INFINITE ? NOT_A_NUMBER : largest_bits));
  const __m512i rounded = bfloat_bits(_mm512_div_ps(all, _mm512_set1_ps(127)));
  const __m512 scale = low_half(rounded);
  // Below the smallest normal number a quotient would overflow.
  const int tiny = _mm512_cmp_ps_mask(scale, _mm512_set1_ps(0x1p-126f), _CMP_LT_OQ) != 0;
  float lanes[16];
  int32_t bits[16];
  _mm512_storeu_ps(lanes, tiny ? _mm512_setzero_ps() : _mm512_div_ps(_mm512_set1_ps(1), scale));
  _mm512_storeu_si512(bits, rounded);
  *inverse = lanes[0];
  return (uint32_t)bits[0] & 0xffff;
}

// A token's key or value in 8 bits, each group of words with its scale: as KvWriter.java rounds.
static void encode_bytes(const float *x, int words, const int32_t *groups, int32_t *to) {
  int32_t largest[MOST_NUMBER_WORDS], most[GROUPS] = {0};
  float inverses[16] = {0};
  uint32_t scales[GROUPS];
  for (int j = 0; j < words; j += 16) {
    // NaN is the largest.
    __m512i magnitude = _mm512_setzero_si512();
    for (int part = 0; part < QUARTERS; part++) {
      const __m512 some = _mm512_abs_ps(_mm512_maskz_loadu_ps(first_lanes(words - j), x + part * words + j));
      magnitude = _mm512_max_epi32(magnitude, _mm512_castps_si512(some));
    }
    _mm512_mask_storeu_epi32(largest + j, first_lanes(words - j), magnitude);
  }
  for (int j = 0; j < words; j++) {
    most[groups[j]] = largest[j] > most[groups[j]] ? largest[j] : most[groups[j]];
  }
  for (int group = 0; group < GROUPS; group++) {
    scales[group] = scale_for(most[group], inverses + group);
  }
  for (int j = 0; j < words; j += 16) {
    const __mmask16 some = first_lanes(words - j);
    const __m512i order = _mm512_maskz_loadu_epi32(some, groups + j);
    const __m512 inverse = _mm512_permutexvar_ps(order, _mm512_loadu_ps(inverses));
    __m512i all = _mm512_setzero_si512();
    for (int part = 0; part < QUARTERS; part++) {
      // The instructions give their second operand where one is NaN.
      const __m512 number = _mm512_mul_ps(_mm512_maskz_loadu_ps(some, x + part * words + j), inverse);
      const __m512 held = _mm512_max_ps(_mm512_set1_ps(-127), _mm512_min_ps(_mm512_set1_ps(127), number));
      const __m512i byte = _mm512_and_si512(_mm512_cvtps_epi32(held), _mm512_set1_epi32(0xff));
      all = _mm512_or_si512(all, _mm512_sllv_epi32(byte, _mm512_set1_epi32(8 * part)));
    }
    _mm512_mask_storeu_epi32(to + j, some, all);
  }
  to[words] = (int32_t)(scales[0] | scales[1] << 16);
  to[words + 1] = (int32_t)(scales[2] | scales[3] << 16);
}

enum { MOST_TOKEN_WORDS = 256 };

// Keys lie word by word, a page's tokens beside each other; values token by token.
static void write_page(const float *keys, int key_stride, const float *values, int value_stride, int tokens,
                       int words, int page_tokens, int format, int32_t *key_words, int32_t *value_words) {
  const __m512i apart = _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(page_tokens));
  int32_t bytes[MOST_TOKEN_WORDS], groups[MOST_NUMBER_WORDS];
  if (format == FORMAT_INT8) {
    list_groups(words - SCALE_WORDS, groups);
  }
  for (int token = 0; token < tokens; token++) {
    const float *key = keys + (int64_t)token * key_stride;
    const float *value = values + (int64_t)token * value_stride;
    int32_t *value_to = value_words + (int64_t)token * words;
    if (format == FORMAT_INT8) {
      encode_bytes(key, words - SCALE_WORDS, groups, bytes);
      encode_bytes(value, words - SCALE_WORDS, groups, value_to);
    }
    for (int word = 0; word < words; word += 16) {
      const __mmask16 lanes = first_lanes(words - word);
      const __m512i key_bits = format == FORMAT_INT8 ? _mm512_maskz_loadu_epi32(lanes, bytes + word)
                                                     : encode(key, words, word, lanes, format);
      _mm512_mask_i32scatter_epi32(key_words + (int64_t)word * page_tokens + token, lanes, apart, key_bits, 4);
      if (format != FORMAT_INT8) {
        _mm512_mask_storeu_epi32(value_to + word, lanes, encode(value, words, word, lanes, format));
      }
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
