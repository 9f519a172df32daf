// Products of many rows without a matrix unit: activations rounded to 16 bits in blocks of 32 columns, which loses as
// little as adding up in float32 does, times the quants themselves: two products and a sum an instruction, twice what
// float32 does. A strip of weight rows is unpacked once for all rows of activations and stays in the first cache.

#include <jni.h>
#include <stdint.h>
#include <string.h>

#include "held_arrays.h"
#include "rounded_rows.h"
#include "weight_scales.h"

enum {
  // A block of a row of activations, in words: 16 pairs of neighbouring columns; the scale; the sum of the block.
  PAIRS = BLOCK_COLUMNS / 2,
  SHORT_SCALE = PAIRS,
  SHORT_SUM,
  SHORT_BLOCK_WORDS,
  // Vectors of weight rows, and rows of activations, that are multiplied together: as many as there are registers for.
#ifdef __AVX512F__
  STRIP_VECTORS = 2,
  MOST_ROWS = 6,
#else
  STRIP_VECTORS = 1,
  MOST_ROWS = 4,
#endif
  STRIP_ROWS = 16 * STRIP_VECTORS,
  STRIPS = TILE_ROWS / STRIP_ROWS,
  // Blocks of a strip that are unpacked together: 20 KB.
  STRIP_BLOCKS = 16 / STRIP_VECTORS,
  // Rows of activations whose blocks stay in the second cache.
  GROUP_ROWS = 256
};

#define SHORTS 32767.0f

// A block of a strip: pairs of columns by row, and what their products are multiplied by.
typedef struct {
  int32_t pairs[PAIRS][STRIP_ROWS];
  float scale[2][STRIP_ROWS];
  float minimum[STRIP_ROWS];
} StripBlock;

static void round_block_to_shorts(const float *x, int32_t *block) {
  const __m512 low = _mm512_loadu_ps(x);
  const __m512 high = _mm512_loadu_ps(x + 16);
  const float largest = largest_of(low, high);
  const __m512 inverse = _mm512_set1_ps(inverse_of(largest, SHORTS));
  const __m512i rounded_low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
  const __m512i rounded_high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
  _mm256_storeu_si256((__m256i *)block, _mm512_cvtepi32_epi16(rounded_low));
  _mm256_storeu_si256((__m256i *)(block + PAIRS / 2), _mm512_cvtepi32_epi16(rounded_high));
  const float scale = largest / SHORTS;
  const float sum = (float)_mm512_reduce_add_epi32(_mm512_add_epi32(rounded_low, rounded_high)) * scale;
  memcpy(block + SHORT_SCALE, &scale, sizeof scale);
  memcpy(block + SHORT_SUM, &sum, sizeof sum);
}

// Whether quants count from a zero point; else values have minimums.
INLINE int has_zero_point(const Weight *weight) { return weight->kind == HALF || weight->kind == FLOAT_TWO_GROUPS; }

// The zero point as two 16-bit numbers.
INLINE __m512i zero_point_of(const Weight *weight) {
  return _mm512_set1_epi32(has_zero_point(weight) ? weight->zero_point * 0x10001 : 0);
}

// Pair p of the neighbouring quants in words, as 16-bit numbers, less the zero point where there is one.
INLINE __m512i pair_of(__m512i words, int p, __m512i zero, const int bits) {
  const __m512i mask = _mm512_set1_epi32((1 << bits) - 1);
  const __m512i high_mask = _mm512_set1_epi32(((1 << bits) - 1) << 16);
  const __m512i own = _mm512_srli_epi32(words, 2 * bits * p);
  const __m512i high = _mm512_and_si512(_mm512_slli_epi32(own, 16 - bits), high_mask);
  return _mm512_sub_epi16(_mm512_or_si512(_mm512_and_si512(own, mask), high), zero);
}

INLINE void unpack_quants(const Weight *weight, const int32_t *quants, int stride, StripBlock *to, const int bits) {
  const __m512i zero = zero_point_of(weight);
  const int pairs = 16 / bits;
  for (int w = 0; w < bits; w++) {
    for (int i = 0; i < STRIP_ROWS; i += 16) {
      const __m512i words = _mm512_loadu_si512(quants + w * stride + i);
#pragma clang loop unroll(full)
      for (int p = 0; p < pairs; p++) {
        _mm512_storeu_si512(to->pairs[w * pairs + p] + i, pair_of(words, p, zero, bits));
      }
    }
  }
}

static void unpack_strip(const Weight *weight, const int32_t *tile, int index, int from, int to, StripBlock *strip) {
  for (int block = from; block < to; block++) {
    const int stored = stored_block(block, weight->blocks);
    const int32_t *quants = quants_of(weight, tile, stored) + STRIP_ROWS * index;
    const int stride = quant_stride(weight, stored);
    if (weight->bits == 4) {
      unpack_quants(weight, quants, stride, strip, 4);
    } else {
      unpack_quants(weight, quants, stride, strip, 8);
    }
    const int32_t *scales = scales_of(weight, tile, stored);
    const int groups = weight->kind == FLOAT_TWO_GROUPS ? 2 : 1;
    for (int group = 0; group < groups; group++) {
      const Scales s = load_scales(weight, scales, group);
      for (int v = 0; v < STRIP_VECTORS; v++) {
        const int half = STRIP_VECTORS * index + v;
        _mm512_storeu_ps(strip->scale[group] + 16 * v, s.scale[half]);
        _mm512_storeu_ps(strip->minimum + 16 * v, has_zero_point(weight) ? _mm512_setzero_ps() : s.minimum[half]);
      }
    }
    strip++;
  }
}

// A group of columns of a block for some rows: integer products, and from them sums in float32.
INLINE void add_columns(const StripBlock *strip, const int32_t *x, int64_t stride, const int from, const int to,
                        const float *scales, __m512 sums[][STRIP_VECTORS], const int rows) {
  __m512i dots[MOST_ROWS][STRIP_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < STRIP_VECTORS; v++) {
      dots[r][v] = _mm512_setzero_si512();
    }
  }
#pragma clang loop unroll_count(2)
  for (int p = from; p < to; p++) {
    __m512i weights[STRIP_VECTORS];
#pragma clang loop unroll(full)
    for (int v = 0; v < STRIP_VECTORS; v++) {
      weights[v] = _mm512_loadu_si512(strip->pairs[p] + 16 * v);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const __m512i pair = _mm512_set1_epi32(x[r * stride + p]);
#pragma clang loop unroll(full)
      for (int v = 0; v < STRIP_VECTORS; v++) {
        dots[r][v] = _mm512_dpwssd_epi32(dots[r][v], weights[v], pair);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < STRIP_VECTORS; v++) {
    const __m512 scale = _mm512_loadu_ps(scales + 16 * v);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const __m512 factor = _mm512_set1_ps(float_at(x + r * stride + SHORT_SCALE));
      sums[r][v] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dots[r][v]), factor), scale, sums[r][v]);
    }
  }
}

// Rows of a strip that are rows of the weight, a mask for each of its vectors.
typedef struct {
  __mmask16 lanes[STRIP_VECTORS];
} StripLanes;

// Adds some blocks of a strip times some rows to what out has, or to nothing at the beginning.
INLINE void multiply_strip(const StripBlock *strip, int blocks, const int32_t *x, int64_t stride, int begin, float *out,
                           int out_stride, StripLanes lanes, const int groups, const int minimums, const int rows) {
  __m512 sums[MOST_ROWS][STRIP_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < STRIP_VECTORS; v++) {
      const float *from = out + (int64_t)r * out_stride + 16 * v;
      sums[r][v] = begin ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(lanes.lanes[v], from);
    }
  }
  for (int block = 0; block < blocks; block++, strip++, x += SHORT_BLOCK_WORDS) {
    if (groups == 2) {
      add_columns(strip, x, stride, 0, PAIRS / 2, strip->scale[0], sums, rows);
      add_columns(strip, x, stride, PAIRS / 2, PAIRS, strip->scale[1], sums, rows);
    } else {
      add_columns(strip, x, stride, 0, PAIRS, strip->scale[0], sums, rows);
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < STRIP_VECTORS && minimums; v++) {
      const __m512 minimum = _mm512_loadu_ps(strip->minimum + 16 * v);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        sums[r][v] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(float_at(x + r * stride + SHORT_SUM)), sums[r][v]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
    for (int v = 0; v < STRIP_VECTORS; v++) {
      _mm512_mask_storeu_ps(out + (int64_t)r * out_stride + 16 * v, lanes.lanes[v], sums[r][v]);
    }
  }
}

// A function for each number of rows and kind of scales, so that all of their registers are named at compile time.
#define STRIP_KERNEL(name, groups, minimums, rows)                                                                     \
  static void name(const StripBlock *strip, int blocks, const int32_t *x, int64_t stride, int begin, float *out,       \
                   int out_stride, StripLanes lanes) {                                                                 \
    multiply_strip(strip, blocks, x, stride, begin, out, out_stride, lanes, groups, minimums, rows);                   \
  }

STRIP_KERNEL(plain_1, 1, 0, 1)
STRIP_KERNEL(plain_2, 1, 0, 2)
STRIP_KERNEL(plain_most, 1, 0, MOST_ROWS)
STRIP_KERNEL(minimums_1, 1, 1, 1)
STRIP_KERNEL(minimums_2, 1, 1, 2)
STRIP_KERNEL(minimums_most, 1, 1, MOST_ROWS)
STRIP_KERNEL(groups_1, 2, 0, 1)
STRIP_KERNEL(groups_2, 2, 0, 2)
STRIP_KERNEL(groups_most, 2, 0, MOST_ROWS)

typedef void (*StripKernel)(const StripBlock *, int, const int32_t *, int64_t, int, float *, int, StripLanes);

static const StripKernel kernels[3][3] = {{plain_1, plain_2, plain_most},
                                          {minimums_1, minimums_2, minimums_most},
                                          {groups_1, groups_2, groups_most}};
static const int kernel_rows[3] = {1, 2, MOST_ROWS};

static int kernels_of(const Weight *weight) {
  return weight->kind == FLOAT_TWO_GROUPS ? 2 : weight->kind == HALF ? 0 : 1;
}

static void multiply_group(const Weight *weight, int rows_of_weight, int from_tile, int to_tile, const int32_t *x,
                           int rows, float *out, int out_stride) {
  const StripKernel *kernel = kernels[kernels_of(weight)];
  const int64_t stride = (int64_t)weight->blocks * SHORT_BLOCK_WORDS;
  StripBlock strip[STRIP_BLOCKS] __attribute__((aligned(64)));
  for (int i = STRIPS * from_tile; i < STRIPS * to_tile && i * STRIP_ROWS < rows_of_weight; i++) {
    StripLanes lanes;
    for (int v = 0; v < STRIP_VECTORS; v++) {
      const int left = rows_of_weight - i * STRIP_ROWS - 16 * v;
      lanes.lanes[v] = first_lanes(left > 0 ? left : 0);
    }
    for (int from = 0; from < weight->blocks; from += STRIP_BLOCKS) {
      const int blocks = weight->blocks - from < STRIP_BLOCKS ? weight->blocks - from : STRIP_BLOCKS;
      unpack_strip(weight, tile_of(weight, i / STRIPS), i % STRIPS, from, from + blocks, strip);
      for (int row = 0; row < rows;) {
        const int size = rows - row >= MOST_ROWS ? 2 : rows - row >= 2 ? 1 : 0;
        kernel[size](strip, blocks, x + row * stride + from * SHORT_BLOCK_WORDS, stride, from == 0,
                     out + (int64_t)row * out_stride + i * STRIP_ROWS, out_stride, lanes);
        row += kernel_rows[size];
      }
    }
  }
}

// A group of columns of a block of all rows of a tile times one row of activations; the same sums as of a strip.
INLINE void add_columns_of_tile(const int32_t *quants, int stride, __m512i zero, const int32_t *x, const int bits,
                                const int from, const int to, const Scales *scales, __m512 *sums) {
  __m512i dots[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  const int pairs = 16 / bits;
  for (int w = from; w < to; w++) {
#pragma clang loop unroll(full)
    for (int half = 0; half < 2; half++) {
      const int32_t *at = quants + w * stride + 16 * half;
      ask_ahead(at);
      const __m512i words = _mm512_loadu_si512(at);
#pragma clang loop unroll(full)
      for (int p = 0; p < pairs; p++) {
        const __m512i column = _mm512_set1_epi32(x[w * pairs + p]);
        dots[half] = _mm512_dpwssd_epi32(dots[half], pair_of(words, p, zero, bits), column);
      }
    }
  }
  const __m512 factor = _mm512_set1_ps(float_at(x + SHORT_SCALE));
#pragma clang loop unroll(full)
  for (int half = 0; half < 2; half++) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[half]), factor);
    sums[half] = _mm512_fmadd_ps(product, scales->scale[half], sums[half]);
  }
}

INLINE void multiply_tile_by_row(const Weight *weight, const int32_t *tile, const int32_t *x, float *out, int tile_rows,
                                 const int bits) {
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  const __m512i zero = zero_point_of(weight);
  const int groups = weight->kind == FLOAT_TWO_GROUPS ? 2 : 1;
  for (int block = 0; block < weight->blocks; block++, x += SHORT_BLOCK_WORDS) {
    const int stored = stored_block(block, weight->blocks);
    Scales scales;
    for (int group = 0; group < groups; group++) {
      scales = load_scales(weight, scales_of(weight, tile, stored), group);
      add_columns_of_tile(quants_of(weight, tile, stored), quant_stride(weight, stored), zero, x, bits,
                          group * bits / groups, (group + 1) * bits / groups, &scales, sums);
    }
    for (int half = 0; half < 2 && !has_zero_point(weight); half++) {
      sums[half] = _mm512_fmadd_ps(scales.minimum[half], _mm512_set1_ps(float_at(x + SHORT_SUM)), sums[half]);
    }
  }
  for (int half = 0; half < 2 && 16 * half < tile_rows; half++) {
    _mm512_mask_storeu_ps(out + 16 * half, first_lanes(tile_rows - 16 * half), sums[half]);
  }
}

// One row alone: its weights are used once, so that unpacking them to memory would not pay.
static void multiply_row(const Weight *weight, int rows_of_weight, int from_tile, int to_tile, const int32_t *x,
                         float *out) {
  for (int t = from_tile; t < to_tile; t++) {
    const int32_t *tile = tile_of(weight, t);
    const int tile_rows = rows_of_weight - t * TILE_ROWS;
    if (weight->bits == 4) {
      multiply_tile_by_row(weight, tile, x, out + t * TILE_ROWS, tile_rows, 4);
    } else {
      multiply_tile_by_row(weight, tile, x, out + t * TILE_ROWS, tile_rows, 8);
    }
  }
}

static void multiply_rows(const Weight *weight, int rows_of_weight, int from_tile, int to_tile, const int32_t *x,
                          int rows, float *out, int out_stride) {
  if (rows == 1) {
    multiply_row(weight, rows_of_weight, from_tile, to_tile, x, out);
    return;
  }
  for (int row = 0; row < rows; row += GROUP_ROWS) {
    multiply_group(weight, rows_of_weight, from_tile, to_tile, x + (int64_t)row * weight->blocks * SHORT_BLOCK_WORDS,
                   rows - row < GROUP_ROWS ? rows - row : GROUP_ROWS, out + (int64_t)row * out_stride, out_stride);
  }
}

JNIEXPORT jint JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_shortBlockWords(JNIEnv *env, jclass owner) {
  return SHORT_BLOCK_WORDS;
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_roundToShorts(
    JNIEnv *env, jclass owner, jfloatArray x_array, jint x_offset, jint blocks, jint from_row, jint to_row,
    jintArray rounded_array) {
  HeldArrays held = {.env = env};
  const float *x = hold(&held, x_array);
  int32_t *rounded = hold(&held, rounded_array);
  for (int64_t i = (int64_t)from_row * blocks; i < (int64_t)to_row * blocks && !held.failed; i++) {
    round_block_to_shorts(x + x_offset + i * BLOCK_COLUMNS, rounded + i * SHORT_BLOCK_WORDS);
  }
  release(&held);
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_multiplyShorts(
    JNIEnv *env, jclass owner, jintArray words_array, jint kind, jint bits, jint zero_point, jint rows_of_weight,
    jint blocks, jint from_tile, jint to_tile, jintArray rounded_array, jint rows, jfloatArray out_array,
    jint out_offset, jint out_columns) {
  HeldArrays held = {.env = env};
  const int32_t *words = hold(&held, words_array);
  const int32_t *rounded = hold(&held, rounded_array);
  float *out = hold(&held, out_array);
  if (!held.failed) {
    const Weight weight = {words, kind, bits, zero_point, blocks};
    multiply_rows(&weight, rows_of_weight, from_tile, to_tile, rounded, rows, out + out_offset, out_columns);
  }
  release(&held);
}
