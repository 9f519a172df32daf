// Products of many rows: activations and weights rounded to bfloat16, multiplied by the matrix unit with float32
// sums. A tile of 32 weight rows is dequantised once for all rows of activations.

#include <jni.h>
#include <string.h>

#include "held_arrays.h"
#include "tiles_amx.h"
#include "weight_scales.h"

enum {
  // Words (of two bfloat16) of 16 rows of activations in one block of 32 columns, and of 16 weight rows in one.
  TILE_WORDS = 256,
  // Rows of activations multiplied together.
  GROUP_ROWS = 32,
  // Weight tiles that a group of rows is multiplied by while it is in the first cache; as in NativeProducts.java.
  PANEL_TILES = 4,
  CACHE_BYTES = 640 << 10
};

// Rounds one block of 32 columns of a row.
INLINE void round_row_block(const float *x, int32_t *to) {
  const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
  _mm512_storeu_si512(to, (__m512i)rounded);
}

// Pairs of neighbouring columns of 16 weight rows, as the matrix unit wants its second operand.
INLINE __m512i interleaved(__m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,  //
                                         23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

// The float 1 + quant / 2^bits: the quant's bits go to the top of the mantissa of 1.
INLINE __m512 in_mantissa(__m512i words, int bit, int bits) {
  const __m512i mask = _mm512_set1_epi32(((1 << bits) - 1) << (23 - bits));
  const __m512i one = _mm512_set1_epi32(0x3f800000);
  const int left = 23 - bits - bit;
  const __m512i moved = left >= 0 ? _mm512_slli_epi32(words, left) : _mm512_srli_epi32(words, -left);
  // (moved & mask) | one
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(moved, mask, one, 0xea));
}

// Dequantises a block to two tiles of 16 pairs of columns x 16 rows.
INLINE void dequantize_quants(const Weight *weight, const int32_t *tile, int stored, int32_t *to, const int bits) {
  const int32_t *quants = quants_of(weight, tile, stored);
  const int stride = quant_stride(weight, stored);
  const int32_t *scales_at = scales_of(weight, tile, stored);
  const int groups = weight->kind == FLOAT_TWO_GROUPS ? 2 : 1;
  const __m512 range = _mm512_set1_ps((float)(1 << bits));
  Scales s = load_scales(weight, scales_at, 0);
  int group = 0;
  for (int w = 0; w < bits; w++) {
    if (groups == 2 && w >= bits / 2 && group == 0) {
      group = 1;
      s = load_scales(weight, scales_at, 1);
    }
    for (int i = 0; i < 2; i++) {
      const __m512i words = _mm512_loadu_si512(quants + w * stride + 16 * i);
      _mm_prefetch((const char *)(quants + w * stride + 16 * i + 1024), _MM_HINT_T0);
      // quant * scale + minimum = (1 + quant / 2^bits) * (2^bits scale) + (minimum - 2^bits scale)
      const __m512 scale = _mm512_mul_ps(range, s.scale[i]);
      const __m512 offset = _mm512_sub_ps(s.minimum[i], scale);
      const int pairs = 16 / bits;
      for (int p = 0; p < pairs; p++) {
        const __m512 even = _mm512_fmadd_ps(in_mantissa(words, 2 * p * bits, bits), scale, offset);
        const __m512 odd = _mm512_fmadd_ps(in_mantissa(words, (2 * p + 1) * bits, bits), scale, offset);
        _mm512_storeu_si512(to + i * TILE_WORDS + (w * pairs + p) * 16, interleaved(even, odd));
      }
    }
  }
}

static void dequantize_4(const Weight *weight, const int32_t *tile, int stored, int32_t *to) {
  dequantize_quants(weight, tile, stored, to, 4);
}

static void dequantize_8(const Weight *weight, const int32_t *tile, int stored, int32_t *to) {
  dequantize_quants(weight, tile, stored, to, 8);
}

static void dequantize_unquantised(const Weight *weight, const int32_t *tile, int stored, int32_t *to) {
  for (int pair = 0; pair < BLOCK_COLUMNS / 2; pair++) {
    for (int i = 0; i < 2; i++) {
      __m512i words;
      if (weight->kind == FLOAT32) {
        const float *at = (const float *)tile + stored * TILE_ROWS * BLOCK_COLUMNS + pair * 2 * TILE_ROWS + 16 * i;
        words = interleaved(_mm512_loadu_ps(at), _mm512_loadu_ps(at + TILE_ROWS));
      } else {
        words = _mm512_loadu_si512(tile + stored * TILE_ROWS * BLOCK_COLUMNS / 2 + pair * TILE_ROWS + 16 * i);
        if (weight->kind == FLOAT16) {
          words = interleaved(halves_low(words), halves_high(words));
        }
      }
      _mm512_storeu_si512(to + i * TILE_WORDS + pair * 16, words);
    }
  }
}

// All blocks of a tile, in order of their columns.
static void dequantize(const Weight *weight, int tile, int32_t *panel) {
  const int32_t *at = tile_of(weight, tile);
  for (int block = 0; block < weight->blocks; block++) {
    const int stored = stored_block(block, weight->blocks);
    int32_t *to = panel + block * 2 * TILE_WORDS;
    if (weight->kind >= BFLOAT16) {
      dequantize_unquantised(weight, at, stored, to);
    } else if (weight->bits == 4) {
      dequantize_4(weight, at, stored, to);
    } else {
      dequantize_8(weight, at, stored, to);
    }
  }
}

// Tiles 0 to 3 become 32 rows of activations times the panel. The rows are used again for the next tile of the panel
// and shall stay in the first cache, which the panel would push them out of: it is loaded as what is used once.
INLINE void multiply_group(const int32_t *x, const int32_t *panel, int blocks) {
  const int32_t *lower = x + (int64_t)blocks * TILE_WORDS;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int block = 0; block < blocks; block++) {
    _tile_loadd(4, x + block * TILE_WORDS, TILE_STRIDE);
    _tile_stream_loadd(6, panel + block * 2 * TILE_WORDS, TILE_STRIDE);
    _tile_stream_loadd(7, panel + block * 2 * TILE_WORDS + TILE_WORDS, TILE_STRIDE);
    _tile_loadd(5, lower + block * TILE_WORDS, TILE_STRIDE);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

static void store_group(float *out, int out_columns, int rows, int tile_rows) {
  if (rows >= GROUP_ROWS && tile_rows >= TILE_ROWS) {
    const int64_t stride = (int64_t)out_columns * sizeof(float);
    _tile_stored(0, out, stride);
    _tile_stored(1, out + 16, stride);
    _tile_stored(2, out + 16 * (int64_t)out_columns, stride);
    _tile_stored(3, out + 16 * (int64_t)out_columns + 16, stride);
    return;
  }
  float all[4][TILE_WORDS];
  _tile_stored(0, all[0], TILE_STRIDE);
  _tile_stored(1, all[1], TILE_STRIDE);
  _tile_stored(2, all[2], TILE_STRIDE);
  _tile_stored(3, all[3], TILE_STRIDE);
  const uint32_t mask = tile_rows >= TILE_ROWS ? 0xffffffffu : (1u << tile_rows) - 1;
  for (int r = 0; r < rows && r < GROUP_ROWS; r++) {
    for (int i = 0; i < 2; i++) {
      const __m512 sums = _mm512_loadu_ps(all[r / 16 * 2 + i] + r % 16 * 16);
      _mm512_mask_storeu_ps(out + (int64_t)r * out_columns + 16 * i, (__mmask16)(mask >> 16 * i), sums);
    }
  }
}

// How many rows of activations stay in the second cache beside the panels.
static int rows_in_cache(int blocks) {
  const int rows = CACHE_BYTES / (blocks * BLOCK_COLUMNS * 2);
  return rows < GROUP_ROWS ? GROUP_ROWS : rows / GROUP_ROWS * GROUP_ROWS;
}

static void multiply_rows(const Weight *weight, int rows_of_weight, int from_tile, int to_tile, const int32_t *x,
                          int rows, int32_t *panel, float *out, int out_columns) {
  const int blocks = weight->blocks;
  for (int first = from_tile; first < to_tile; first += PANEL_TILES) {
    const int tiles = to_tile - first < PANEL_TILES ? to_tile - first : PANEL_TILES;
    for (int i = 0; i < tiles; i++) {
      dequantize(weight, first + i, panel + i * blocks * 2 * TILE_WORDS);
    }
    for (int row = 0; row < rows; row += GROUP_ROWS) {
      for (int i = 0; i < tiles; i++) {
        multiply_group(x + (int64_t)row * blocks * BLOCK_COLUMNS / 2, panel + i * blocks * 2 * TILE_WORDS, blocks);
        store_group(out + (int64_t)row * out_columns + (first + i) * TILE_ROWS, out_columns, rows - row,
                    rows_of_weight - (first + i) * TILE_ROWS);
      }
    }
  }
}

// Rounds rows [from, to), blocks of 16 rows x 32 columns one after the other; rows past the last become zeros.
static void round_rows(const float *x, int columns, int rows, int from, int to, int32_t *rounded) {
  const int blocks = columns / BLOCK_COLUMNS;
  for (int row = from; row < to; row++) {
    int32_t *at = rounded + (int64_t)(row / 16) * blocks * TILE_WORDS + row % 16 * 16;
    for (int block = 0; block < blocks; block++) {
      if (row < rows) {
        round_row_block(x + (int64_t)row * columns + block * BLOCK_COLUMNS, at + block * TILE_WORDS);
      } else {
        _mm512_storeu_si512(at + block * TILE_WORDS, _mm512_setzero_si512());
      }
    }
  }
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_roundToBfloat16(
    JNIEnv *env, jclass owner, jfloatArray x_array, jint x_offset, jint columns, jint rows, jint from_row,
    jint to_row, jlong rounded) {
  HeldArrays held = {.env = env};
  const float *x = hold(&held, x_array);
  if (!held.failed) {
    round_rows(x + x_offset, columns, rows, from_row, to_row, (int32_t *)rounded);
  }
  release(&held);
}

JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_multiplyBfloat16(
    JNIEnv *env, jclass owner, jarray words_array, jint kind, jint bits, jint zero_point, jint rows_of_weight,
    jint blocks, jint from_tile, jint to_tile, jlong rounded, jint rows, jintArray panel_array,
    jfloatArray out_array, jint out_offset, jint out_columns) {
  HeldArrays held = {.env = env};
  const int32_t *words = hold(&held, words_array);
  int32_t *panel = hold(&held, panel_array);
  float *out = hold(&held, out_array);
  if (!held.failed) {
    const Weight weight = {words, kind, bits, zero_point, blocks};
    // Tiles are read and written by lines.
    int32_t *aligned = (int32_t *)(((uintptr_t)panel + 63) & ~(uintptr_t)63);
    configure_tiles();
    const int step = rows_in_cache(blocks);
    for (int row = 0; row < rows; row += step) {
      const int some = rows - row < step ? rows - row : step;
      const int32_t *x = (const int32_t *)rounded + (int64_t)row * blocks * BLOCK_COLUMNS / 2;
      multiply_rows(&weight, rows_of_weight, from_tile, to_tile, x, some, aligned,
                    out + out_offset + (int64_t)row * out_columns, out_columns);
    }
    _tile_release();
  }
  release(&held);
}

JNIEXPORT jlong JNICALL Java_dev_kvfreeze_device_cpu_NativeProducts_address(JNIEnv *env, jclass owner,
                                                                           jobject buffer) {
  return (jlong)(*env)->GetDirectBufferAddress(env, buffer);
}
