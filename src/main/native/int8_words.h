// Words of four 8-bit numbers, each of a quarter of a head's dimensions, as PageLayout.java has them.

#ifndef KVFREEZE_INT8_WORDS_H
#define KVFREEZE_INT8_WORDS_H

#include "bfloat16.h"

// As the ordinals of KvFormat.java.
enum { FORMAT_BF16 = 0, FORMAT_F32 = 1, FORMAT_INT8 = 2 };

// A word has a number of each quarter of the dimensions. The words, too, are in four groups that follow each other: the
// numbers of a group's words share a scale.
enum { QUARTERS = 4, GROUPS = 4, SCALE_WORDS = 2, MOST_NUMBER_WORDS = 64 };

// Words of a token's key or value.
INLINE int token_words(int head_size, int format) {
  return format == FORMAT_INT8 ? head_size / QUARTERS + SCALE_WORDS : head_size / 2;
}

// The group of one of so many words.
INLINE int group_of(int word, int words) { return word * GROUPS / words; }

// The same of all words.
INLINE void list_groups(int words, int32_t *groups) {
  for (int word = 0; word < words; word++) {
    groups[word] = group_of(word, words);
  }
}

#define FOUR(group) group, group, group, group
#define EIGHT(group) FOUR(group), FOUR(group)
static const int32_t WORD_GROUPS[][MOST_NUMBER_WORDS] = {
    {FOUR(0), FOUR(1), FOUR(2), FOUR(3)},
    {EIGHT(0), EIGHT(1), EIGHT(2), EIGHT(3)},
    {EIGHT(0), FOUR(0), EIGHT(1), FOUR(1), EIGHT(2), FOUR(2), EIGHT(3), FOUR(3)},
    {EIGHT(0), EIGHT(0), EIGHT(1), EIGHT(1), EIGHT(2), EIGHT(2), EIGHT(3), EIGHT(3)},
};
#undef FOUR
#undef EIGHT

// The groups of the 16 words from the first one on, of as many words as a head of 64, 128, 192 or 256 has.
INLINE __m512i groups_from(int first, int words) { return _mm512_loadu_si512(WORD_GROUPS[words / 16 - 1] + first); }

// The numbers of a quarter.
INLINE __m512 quarter_of(__m512i words, const int quarter) {
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(words, 24 - 8 * quarter), 24));
}

// The same times 2^24, in fewer instructions; the unit takes it away again.
#define HIGH_BYTE_UNIT 0x1p-24f

INLINE __m512 high_quarter(__m512i words, const int quarter) {
  const __m512i top = quarter == 3 ? words : _mm512_slli_epi32(words, 24 - 8 * quarter);
  return _mm512_cvtepi32_ps(quarter == 0 ? top : _mm512_and_si512(top, _mm512_set1_epi32((int)0xff000000)));
}

// The scale of a group, of the word that holds it and another's.
INLINE __m512 scale_of(__m512i word, const int group) { return group % 2 ? high_half(word) : low_half(word); }

// The scale of each of 16 words, of the two words that hold all.
INLINE __m512 scales_of_words(const int32_t *scales, __m512i group) {
  const __m512 all = _mm512_castsi512_ps(_mm512_maskz_loadu_epi32(first_lanes(SCALE_WORDS), scales));
  const __m512i word = _mm512_castps_si512(_mm512_permutexvar_ps(_mm512_srli_epi32(group, 1), all));
  const __m512i even = _mm512_xor_si512(_mm512_and_si512(group, _mm512_set1_epi32(1)), _mm512_set1_epi32(1));
  return high_half(_mm512_sllv_epi32(word, _mm512_slli_epi32(even, 4)));
}

#endif
