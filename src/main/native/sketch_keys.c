// Makes the sketches of a page's keys, see KeySketches.java: each key less the centre, and then either turned by a fixed
// rotation and rounded to codes of one or two bits, or only some of its dimensions, those to codes of two, four or six.
// 16 tokens lie side by side, so each sum is made in the order of the Java kernels.
// The caller has checked all bounds.

#include <float.h>
#include <jni.h>
#include <stdint.h>

#define MAX_HELD 12
#include "held_arrays.h"
#include "int8_words.h"

// As in NativeSketchMaker.java.
enum { PAIRS_ARE_NEIGHBOURS = 1 };

enum {
  SET_HEAD_SIZE,
  SET_PAGE_TOKENS,
  SET_FORMAT,
  SET_PAIRS,
  SET_PAIRING,
  SET_ROTATION_STRIDE,
  SET_KEPT,
  SET_PLANES,
  SET_WORDS
};

enum { TOKENS = 16, BLOCK_TOKENS = 64, WORD_BITS = 32, ROWS_TOGETHER = 16 };

typedef struct {
  const int32_t *keys;  // [word][page_tokens]
  int head_size, page_tokens, format;
} Page;

// What all keys have in common at the page's first position, and how it turns from there.
typedef struct {
  const float *here;
  const float *cosines, *sines;  // [pair][page_tokens]
  int pairs, pairing;
} Centre;

typedef struct {
  int32_t *bits;  // [block][word][token of the block]
  int16_t *steps;
  int planes, words;
} Sketches;

// A dimension of the keys of some tokens, from the first on.
static __m512 key(const Page *page, int dimension, int first, __mmask16 tokens) {
  const int half = page->head_size / 2;
  if (page->format == FORMAT_F32) {
    const int32_t *words = page->keys + (int64_t)dimension * page->page_tokens + first;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi32(tokens, words));
  }
  if (page->format == FORMAT_INT8) {
    const int quarter = half / 2, word = dimension % quarter, group = group_of(word, quarter);
    const int32_t *words = page->keys + (int64_t)word * page->page_tokens + first;
    const int32_t *scales = page->keys + (int64_t)(quarter + group / 2) * page->page_tokens + first;
    const __m512i bytes = _mm512_maskz_loadu_epi32(tokens, words);
    const __m512 scale = scale_of(_mm512_maskz_loadu_epi32(tokens, scales), group);
    return _mm512_mul_ps(scale, quarter_of(bytes, dimension / quarter));
  }
  const int word = dimension < half ? dimension : dimension - half;
  const __m512i both = _mm512_maskz_loadu_epi32(tokens, page->keys + (int64_t)word * page->page_tokens + first);
  const __m512i bits =
      dimension < half ? _mm512_slli_epi32(both, 16) : _mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000));
  return _mm512_castsi512_ps(bits);
}

// Products and sums are rounded apart, as in Java.
static void subtract_centre(const Page *page, const Centre *centre, int first, __mmask16 tokens, float *to) {
  for (int pair = 0; pair < centre->pairs; pair++) {
    const int neighbours = centre->pairing == PAIRS_ARE_NEIGHBOURS;
    const int one = neighbours ? 2 * pair : pair;
    const int other = neighbours ? 2 * pair + 1 : pair + centre->pairs;
    const int64_t angle = (int64_t)pair * page->page_tokens + first;
    const __m512 cosine = _mm512_maskz_loadu_ps(tokens, centre->cosines + angle);
    const __m512 sine = _mm512_maskz_loadu_ps(tokens, centre->sines + angle);
    const __m512 a = _mm512_set1_ps(centre->here[one]);
    const __m512 b = _mm512_set1_ps(centre->here[other]);
    const __m512 centre_one = _mm512_sub_ps(_mm512_mul_ps(a, cosine), _mm512_mul_ps(b, sine));
    const __m512 centre_other = _mm512_add_ps(_mm512_mul_ps(b, cosine), _mm512_mul_ps(a, sine));
    _mm512_storeu_ps(to + one * TOKENS, _mm512_sub_ps(key(page, one, first, tokens), centre_one));
    _mm512_storeu_ps(to + other * TOKENS, _mm512_sub_ps(key(page, other, first, tokens), centre_other));
  }
  for (int d = 2 * centre->pairs; d < page->head_size; d++) {
    const __m512 fixed = _mm512_set1_ps(centre->here[d]);
    _mm512_storeu_ps(to + d * TOKENS, _mm512_sub_ps(key(page, d, first, tokens), fixed));
  }
}

// to[row][token] = sum over j of columns[j][row] * keys[j][token], for `stride` rows.
static void rotate(const float *keys, const float *columns, int stride, int size, float *to) {
  for (int row = 0; row < stride; row += ROWS_TOGETHER) {
    __m512 sums[ROWS_TOGETHER];
    for (int r = 0; r < ROWS_TOGETHER; r++) {
      sums[r] = _mm512_setzero_ps();
    }
    for (int j = 0; j < size; j++) {
      const __m512 x = _mm512_loadu_ps(keys + j * TOKENS);
      const float *column = columns + (int64_t)j * stride + row;
#pragma clang loop unroll(full)
      for (int r = 0; r < ROWS_TOGETHER; r++) {
        sums[r] = _mm512_fmadd_ps(x, _mm512_set1_ps(column[r]), sums[r]);
      }
    }
    for (int r = 0; r < ROWS_TOGETHER; r++) {
      _mm512_storeu_ps(to + (row + r) * TOKENS, sums[r]);
    }
  }
}

static __m512 square_sums(const float *rotated, int size) {
  __m512 sum = _mm512_setzero_ps();
  for (int d = 0; d < size; d++) {
    const __m512 x = _mm512_loadu_ps(rotated + d * TOKENS);
    sum = _mm512_add_ps(sum, _mm512_mul_ps(x, x));
  }
  return sum;
}

// Where the outer codes begin: a multiple of the standard deviation, in double precision as in Java.
static __m512 outer_bounds(__m512 squares, int size, double deviations) {
  const __m512 variance = _mm512_div_ps(squares, _mm512_set1_ps((float)size));
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(variance));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(variance, 1));
  const __m512d factor = _mm512_set1_pd(deviations);
  const __m512d two = _mm512_set1_pd(2);
  const __m512d most = _mm512_set1_pd(FLT_MAX);
  // The minimum is its second operand where that is NaN.
  const __m512d low_outer = _mm512_min_pd(most, _mm512_mul_pd(two, _mm512_mul_pd(factor, _mm512_sqrt_pd(low))));
  const __m512d high_outer = _mm512_min_pd(most, _mm512_mul_pd(two, _mm512_mul_pd(factor, _mm512_sqrt_pd(high))));
  const __m256 low_bound = _mm512_cvtpd_ps(low_outer);
  const __m256 high_bound = _mm512_cvtpd_ps(high_outer);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low_bound), high_bound, 1);
}

static __m512i codes_of_one_bit(__m512 x) {
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
  return _mm512_maskz_set1_epi32(positive, 1);
}

static __m512i codes_of_two_bits(__m512 x, __m512 outer) {
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
  const __mmask16 above = _mm512_cmp_ps_mask(x, outer, _CMP_GT_OQ);
  const __mmask16 below = _mm512_cmp_ps_mask(x, _mm512_sub_ps(_mm512_set1_ps(-0.0f), outer), _CMP_LT_OQ);
  __m512i codes = _mm512_mask_set1_epi32(_mm512_set1_epi32(1), positive, 2);
  codes = _mm512_mask_set1_epi32(codes, below, 0);
  return _mm512_mask_set1_epi32(codes, above, 3);
}

// Where the words of tokens [token, token + 16) of the sequence begin.
static __m512i first_words(const Sketches *sketches, int token) {
  const __m512i counted = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i places = _mm512_add_epi32(_mm512_set1_epi32(token), counted);
  const __m512i block = _mm512_srli_epi32(places, 6);
  const __m512i in_block = _mm512_and_si512(places, _mm512_set1_epi32(BLOCK_TOKENS - 1));
  const __m512i block_words = _mm512_mullo_epi32(block, _mm512_set1_epi32(sketches->words * BLOCK_TOKENS));
  return _mm512_add_epi32(block_words, in_block);
}

// Codes and steps of tokens [token, token + 16) of the sequence, of those in the mask.
static void encode(const float *rotated, int size, const Sketches *sketches, double deviations, int token,
                   __mmask16 tokens) {
  const int planes = sketches->planes;
  const int codes_a_word = WORD_BITS / planes;
  const int most = (1 << planes) - 1;
  const __m512 squares = square_sums(rotated, size);
  const __m512 outer = outer_bounds(squares, size, deviations);
  const __m512i first_word = first_words(sketches, token);
  __m512 products = _mm512_setzero_ps();
  for (int word = 0; word < sketches->words; word++) {
    const int from = word * codes_a_word;
    const int count = size - from < codes_a_word ? size - from : codes_a_word;
    __m512i packed = _mm512_setzero_si512();
    for (int i = 0; i < count; i++) {
      const __m512 x = _mm512_loadu_ps(rotated + (from + i) * TOKENS);
      const __m512i codes = planes == 1 ? codes_of_one_bit(x) : codes_of_two_bits(x, outer);
      const __m512i levels = _mm512_sub_epi32(_mm512_slli_epi32(codes, 1), _mm512_set1_epi32(most));
      products = _mm512_add_ps(products, _mm512_mul_ps(x, _mm512_cvtepi32_ps(levels)));
      packed = _mm512_or_si512(packed, _mm512_sllv_epi32(codes, _mm512_set1_epi32(i * planes)));
    }
    if (count == codes_a_word) {
      packed = _mm512_xor_si512(packed, _mm512_set1_epi32(INT32_MIN));
    }
    _mm512_mask_i32scatter_epi32(sketches->bits + word * BLOCK_TOKENS, tokens, first_word, packed, 4);
  }
  const __mmask16 zero = _mm512_cmp_ps_mask(products, _mm512_setzero_ps(), _CMP_EQ_OQ);
  const __m512 steps = _mm512_mask_div_ps(_mm512_setzero_ps(), (__mmask16)~zero, squares, products);
  _mm512_mask_cvtepi32_storeu_epi16(sketches->steps + token, tokens, bfloat_bits(steps));
}

// The dimensions that are kept, as in SketchChannels.java.
typedef struct {
  const int32_t *dimensions, *codes;
  const float *inverse_widths;
  int count;
} Channels;

// Bits of the first half of a dimension's levels.
static float half_of(int codes) {
  return (float)(1 << (2 * codes - 1));
}

// At least 1, and such that no dimension is cut; bfloat16 numbers, rounded up.
static __m512 channel_steps(const float *keys, const Channels *channels) {
  __m512 step = _mm512_set1_ps(1);
  for (int entry = 0; entry < channels->count; entry++) {
    const __m512 x = _mm512_abs_ps(_mm512_loadu_ps(keys + channels->dimensions[entry] * TOKENS));
    const __m512 scaled = _mm512_mul_ps(x, _mm512_set1_ps(channels->inverse_widths[entry]));
    // The maximum is its second operand where the first is NaN.
    step = _mm512_max_ps(_mm512_mul_ps(scaled, _mm512_set1_ps(1 / half_of(channels->codes[entry]))), step);
  }
  step = _mm512_min_ps(step, _mm512_set1_ps(1e30f));
  const __m512i up = _mm512_add_epi32(_mm512_castps_si512(step), _mm512_set1_epi32(0xffff));
  return _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32((int)0xffff0000)));
}

static void encode_channels(const float *keys, const Channels *channels, const Sketches *sketches, int token,
                            __mmask16 tokens) {
  const __m512i first_word = first_words(sketches, token);
  const __m512 step = channel_steps(keys, channels);
  const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1), step);
  __m512i packed = _mm512_setzero_si512();
  int index = 0;
  for (int entry = 0; entry < channels->count; entry++) {
    const int codes = channels->codes[entry];
    const __m512 half = _mm512_set1_ps(half_of(codes));
    const __m512 x = _mm512_loadu_ps(keys + channels->dimensions[entry] * TOKENS);
    const __m512 scaled = _mm512_mul_ps(x, _mm512_set1_ps(channels->inverse_widths[entry]));
    __m512 level = _mm512_add_ps(_mm512_mul_ps(scaled, inverse), half);
    level = _mm512_max_ps(level, _mm512_setzero_ps());
    level = _mm512_min_ps(level, _mm512_set1_ps(2 * half_of(codes) - 1));
    const __m512i code = _mm512_cvttps_epi32(level);
    for (int place = codes - 1; place >= 0; place--, index++) {
      const __m512i two = _mm512_and_si512(_mm512_srlv_epi32(code, _mm512_set1_epi32(2 * place)), _mm512_set1_epi32(3));
      packed = _mm512_or_si512(packed, _mm512_sllv_epi32(two, _mm512_set1_epi32(index % 16 * 2)));
      if (index % 16 == 15) {
        packed = _mm512_xor_si512(packed, _mm512_set1_epi32(INT32_MIN));
        _mm512_mask_i32scatter_epi32(sketches->bits + index / 16 * BLOCK_TOKENS, tokens, first_word, packed, 4);
        packed = _mm512_setzero_si512();
      }
    }
  }
  if (index % 16) {
    _mm512_mask_i32scatter_epi32(sketches->bits + index / 16 * BLOCK_TOKENS, tokens, first_word, packed, 4);
  }
  const __m512i steps = _mm512_srli_epi32(_mm512_castps_si512(step), 16);
  _mm512_mask_cvtepi32_storeu_epi16(sketches->steps + token, tokens, steps);
}

// The columns are null where the keys are not turned.
JNIEXPORT void JNICALL Java_dev_kvfreeze_device_cpu_NativeSketchMaker_sketchPage0(
    JNIEnv *env, jclass owner, jintArray setting_array, jintArray slab_array, jint key_at, jfloatArray here_array,
    jfloatArray cosine_array, jfloatArray sine_array, jfloatArray column_array, jintArray dimension_array,
    jintArray code_array, jfloatArray width_array, jfloatArray scratch_array, jintArray bit_array,
    jshortArray step_array, jint token, jdouble deviations) {
  HeldArrays held = {.env = env};
  const jint *set = hold(&held, setting_array);
  const int32_t *slab = hold(&held, slab_array);
  const float *here = hold(&held, here_array);
  const float *cosines = hold(&held, cosine_array);
  const float *sines = hold(&held, sine_array);
  const float *columns = column_array ? hold(&held, column_array) : 0;
  const int32_t *dimensions = hold(&held, dimension_array);
  const int32_t *codes = hold(&held, code_array);
  const float *widths = hold(&held, width_array);
  float *scratch = hold(&held, scratch_array);
  int32_t *bits = hold(&held, bit_array);
  int16_t *steps = hold(&held, step_array);
  if (!held.failed) {
    const int head_size = set[SET_HEAD_SIZE];
    const int page_tokens = set[SET_PAGE_TOKENS];
    const Page page = {slab + key_at, head_size, page_tokens, set[SET_FORMAT]};
    const Centre centre = {here, cosines, sines, set[SET_PAIRS], set[SET_PAIRING]};
    const Channels channels = {dimensions, codes, widths, set[SET_KEPT]};
    const Sketches sketches = {bits, steps, set[SET_PLANES], set[SET_WORDS]};
    float *rotated = scratch + head_size * TOKENS;
    for (int first = 0; first < page_tokens; first += TOKENS) {
      const __mmask16 tokens = first_lanes(page_tokens - first);
      subtract_centre(&page, &centre, first, tokens, scratch);
      if (columns) {
        rotate(scratch, columns, set[SET_ROTATION_STRIDE], head_size, rotated);
        encode(rotated, head_size, &sketches, deviations, token + first, tokens);
      } else {
        encode_channels(scratch, &channels, &sketches, token + first, tokens);
      }
    }
  }
  release(&held);
}
