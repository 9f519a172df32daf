// Products of rows of activations rounded to 8 bits with quantised weights, bound by memory: integer dot products
// of each block, scaled and summed in the order of the Java kernels, so that both give the same bits.

#include <jni.h>
#include <string.h>

#include "held_arrays.h"
#include "rounded_rows.h"
#include "weight_scales.h"

#ifdef __AVX512F__
#include "dots_avx512.h"
#else
#include "dots_avx2.h"
#endif

static void round_block(const float *x, int32_t *block) {
  const __m512 low = _mm512_loadu_ps(x);
  const __m512 high = _mm512_loadu_ps(x + 16);
  const float largest = largest_of(low, high);
  const float inverse = inverse_of(largest, 127);
  const __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(low, _mm512_set1_ps(inverse)));
  const __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(high, _mm512_set1_ps(inverse)));
  const __m256i ordered = _mm256_set_m128i(_mm512_cvtepi32_epi8(b), _mm512_cvtepi32_epi8(a));
  const __m256i pick = _mm256_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15,  //
                                        0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  _mm256_storeu_si256((__m256i *)block, _mm256_shuffle_epi8(ordered, pick));
  _mm256_storeu_si256((__m256i *)(block + ORDERED), ordered);
  block[FIRST_SUM] = _mm512_reduce_add_epi32(a);
  block[SECOND_SUM] = _mm512_reduce_add_epi32(b);
  const float scale = largest / 127;
  memcpy(block + SCALE, &scale, sizeof scale);
}

INLINE int32_t sum_of(const int32_t *block, int group, const int groups) {
  return groups == 2 ? block[FIRST_SUM + group] : block[FIRST_SUM] + block[SECOND_SUM];
}

// Integer dot products of a group of columns become parts of float sums.
INLINE void add_scaled(const Weight *weight, const int32_t *tile, int stored, int group, const int32_t *x, int x_stride,
                       int rows, __m512i dots[][2], __m512 products[][2], __m512 offsets[][2], const int centred,
                       const int groups) {
  __m512 sums[MAX_ROWS_TOGETHER];
  for (int r = 0; r < rows; r++) {
    const int32_t *block = x + r * x_stride;
    sums[r] = _mm512_set1_ps((float)sum_of(block, group, groups) * float_at(block + SCALE));
  }
  const Scales s = load_scales(weight, scales_of(weight, tile, stored), group);
  for (int r = 0; r < rows; r++) {
    const __m512 scale = _mm512_set1_ps(float_at(x + r * x_stride + SCALE));
    for (int i = 0; i < 2; i++) {
      const __m512 dot = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(dots[r][i]));
      products[r][i] = _mm512_fmadd_ps(s.scale[i], dot, products[r][i]);
      if (!centred) {
        offsets[r][i] = _mm512_fmadd_ps(s.minimum[i], sums[r], offsets[r][i]);
      }
    }
  }
}

// One block of the tile times `rows` rows. A centred weight is its signed quant times its scale.
INLINE void add_block(const Weight *weight, const int32_t *tile, int stored, const int32_t *x, int rows,
                      __m512 products[][2], __m512 offsets[][2], const int bits, const int centred,
                      const int groups) {
  const int x_stride = weight->blocks * BLOCK_WORDS;
  x += stored * BLOCK_WORDS;
  for (int group = 0; group < groups; group++) {
    __m512i dots[MAX_ROWS_TOGETHER][2];
    for (int r = 0; r < rows; r++) {
      dots[r][0] = dots[r][1] = first_dots(centred, sum_of(x + r * x_stride, group, groups));
    }
    const int words = bits / groups;
    add_dots(quants_of(weight, tile, stored), quant_stride(weight, stored), x, x_stride, rows, group * words,
             (group + 1) * words, bits, centred, dots);
    add_scaled(weight, tile, stored, group, x, x_stride, rows, dots, products, offsets, centred, groups);
  }
}

// The two blocks of a pair times one row, in the order in which they lie in memory.
INLINE void add_block_pair(const Weight *weight, const int32_t *tile, int stored, const int32_t *x,
                           __m512 products[][2], __m512 offsets[][2], const int bits, const int centred,
                           const int groups) {
  const int words = bits / groups;
  x += stored * BLOCK_WORDS;
  __m512i dots[2][2][2];
  ask_for(scales_of(weight, tile, stored), 2 * scale_words(weight));
  for (int group = 0; group < groups; group++) {
    for (int block = 0; block < 2; block++) {
      const int32_t sum = sum_of(x + block * BLOCK_WORDS, group, groups);
      dots[group][block][0] = dots[group][block][1] = first_dots(centred, sum);
    }
    add_pair_dots(quants_of(weight, tile, stored), x, group * words, (group + 1) * words, bits, centred, dots[group]);
  }
  for (int block = 0; block < 2; block++) {
    for (int group = 0; group < groups; group++) {
      add_scaled(weight, tile, stored + block, group, x + block * BLOCK_WORDS, 0, 1, &dots[group][block], products,
                 offsets, centred, groups);
    }
  }
}

INLINE void multiply_tile(const Weight *weight, const int32_t *tile, const int32_t *x, int rows, float *out,
                          int out_stride, int tile_rows, const int bits, const int centred, const int groups) {
  __m512 products[MAX_ROWS_TOGETHER][2];
  __m512 offsets[MAX_ROWS_TOGETHER][2];
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < 2; i++) {
      products[r][i] = offsets[r][i] = _mm512_setzero_ps();
    }
  }
  int stored = 0;
  for (; rows == 1 && stored + 1 < weight->blocks; stored += 2) {
    add_block_pair(weight, tile, stored, x, products, offsets, bits, centred, groups);
  }
  for (; stored < weight->blocks; stored++) {
    if (stored % 2 == 0 && stored + 1 < weight->blocks) {
      ask_for(scales_of(weight, tile, stored), 2 * (scale_words(weight) + quant_words(weight)));
    }
    add_block(weight, tile, stored, x, rows, products, offsets, bits, centred, groups);
  }
  const uint32_t mask = tile_rows >= 32 ? 0xffffffffu : (1u << tile_rows) - 1;
  for (int r = 0; r < rows; r++) {
    for (int i = 0; i < 2; i++) {
      const __m512 sum = _mm512_add_ps(products[r][i], offsets[r][i]);
      _mm512_mask_storeu_ps(out + (int64_t)r * out_stride + 16 * i, (__mmask16)(mask >> 16 * i), sum);
    }
  }
}

// A function for each number of rows and kind of quants, so that all of their registers are named at compile time.
#define TILE_KERNEL(name, rows, bits, centred, groups)                                                         \
  static void name(const Weight *weight, const int32_t *tile, const int32_t *x, float *out, int out_stride,   \
                   int tile_rows) {                                                                            \
    multiply_tile(weight, tile, x, rows, out, out_stride, tile_rows, bits, centred, groups);                   \
  }

TILE_KERNEL(nibbles_1, 1, 4, 0, 1)
TILE_KERNEL(nibbles_2, 2, 4, 0, 1)
TILE_KERNEL(nibbles_4, 4, 4, 0, 1)
TILE_KERNEL(bytes_1, 1, 8, 0, 1)
TILE_KERNEL(bytes_2, 2, 8, 0, 1)
TILE_KERNEL(bytes_4, 4, 8, 0, 1)
TILE_KERNEL(centred_1, 1, 8, 1, 1)
TILE_KERNEL(centred_2, 2, 8, 1, 1)
TILE_KERNEL(centred_4, 4, 8, 1, 1)
TILE_KERNEL(groups_1, 1, 8, 0, 2)
TILE_KERNEL(groups_2, 2, 8, 0, 2)
TILE_KERNEL(groups_4, 4, 8, 0, 2)

typedef void (*TileKernel)(const Weight *, const int32_t *, const int32_t *, float *, int, int);

static const TileKernel kernels[4][3] = {{nibbles_1, nibbles_2, nibbles_4},
                                         {bytes_1, bytes_2, bytes_4},
                                         {centred_1, centred_2, centred_4},
                                         {groups_1, groups_2, groups_4}};

static int kernels_of(const Weight *weight) {
  if (weight->bits == 4) {
    return 0;
  }
  return weight->kind == FLOAT_TWO_GROUPS ? 3 : weight->zero_point == 128 ? 2 : 1;
}

static void multiply(const Weight *weight, int rows_of_weight, int from_tile, int to_tile, const int32_t *x,
                     int rows, float *out, int out_columns) {
  const int format = kernels_of(weight);
  for (int t = from_tile; t < to_tile; t++) {
    const int32_t *tile = tile_of(weight, t);
    const int tile_rows = rows_of_weight - t * TILE_ROWS;
    if (t == from_tile) {
      ask_for(tile, read_ahead_words);
    }
    for (int row = 0; row < rows;) {
      const int size = rows - row >= 4 ? 2 : rows - row >= 2 ? 1 : 0;
      const int32_t *some = x + (int64_t)row * weight->blocks * BLOCK_WORDS;
      kernels[format][size](weight, tile, some, out + (int64_t)row * out_columns + t * TILE_ROWS, out_columns,
                            tile_rows);
      row += 1 << size;
    }
  }
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_round(
    JNIEnv *env, jclass owner, jfloatArray x_array, jint x_offset, jint rows, jint blocks, jintArray rounded_array) {
  HeldArrays held = {.env = env};
  const float *x = hold(&held, x_array);
  int32_t *rounded = hold(&held, rounded_array);
  if (!held.failed) {
    for (int row = 0; row < rows; row++) {
      const float *from = x + x_offset + (int64_t)row * blocks * BLOCK_COLUMNS;
      for (int stored = 0; stored < blocks; stored++) {
        const int64_t at = (int64_t)row * blocks + stored;
        round_block(from + block_of(stored, blocks) * BLOCK_COLUMNS, rounded + at * BLOCK_WORDS);
      }
    }
  }
  release(&held);
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_multiplyRounded(
    JNIEnv *env, jclass owner, jintArray words_array, jint kind, jint bits, jint zero_point, jint rows_of_weight,
    jint blocks, jint from_tile, jint to_tile, jintArray rounded_array, jint rows, jfloatArray out_array,
    jint out_offset, jint out_columns) {
  HeldArrays held = {.env = env};
  const int32_t *words = hold(&held, words_array);
  const int32_t *rounded = hold(&held, rounded_array);
  float *out = hold(&held, out_array);
  if (!held.failed) {
    const Weight weight = {words, kind, bits, zero_point, blocks};
    multiply(&weight, rows_of_weight, from_tile, to_tile, rounded, rows, out + out_offset, out_columns);
  }
  release(&held);
}
