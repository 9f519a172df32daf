// One lane's share of a 32 x 32 block of a weight matrix: loaded with wide coalesced loads,
// unpacked in registers to operands of the matrix instructions (README.md, "Weight matrix").
#pragma once

#include "weights.cuh"

/// What a lane loads of a block, as it lies in memory: 8 columns of each of its 4 rows.
template <int kType>
struct BlockWords {
  /// Nibbles; or the bytes of rows g, g + 8 and of g + 16, g + 24.
  uint4 quants[kType == kQ8_0 ? 2 : 1];
  /// Fifth bits in x, or pairs of bits.
  uint2 high;
  /// Scales (and minimums) of the lane's 4 rows.
  uint4 scales;
};

template <int kType>
__device__ __forceinline__ BlockWords<kType> load_block(const uint8* record, int lane) {
  BlockWords<kType> words;
  words.quants[0] = load_streaming(reinterpret_cast<const uint4*>(record + 16 * lane));
  const uint8* after = record + kNibbleBytes;
  if constexpr (kType == kQ8_0) {
    words.quants[1] = load_streaming(reinterpret_cast<const uint4*>(after + 16 * lane));
    after += kNibbleBytes;
  }
  if constexpr (kType == kQ5_0 || kType == kQ5_1 || kType == kQ5_K) {
    words.high.x = *reinterpret_cast<const uint32*>(after + 4 * lane);
    after += kFifthBytes;
  }
  if constexpr (kType == kQ6_K) {
    words.high = *reinterpret_cast<const uint2*>(after + 8 * lane);
    after += kPairBytes;
  }
  const int group = lane / 4;
  if constexpr (kType == kQ4_1 || kType == kQ5_1) {
    words.scales = *reinterpret_cast<const uint4*>(after + 16 * group);
  } else {
    const uint2 half = *reinterpret_cast<const uint2*>(after + 8 * group);
    words.scales.x = half.x;
    words.scales.y = half.y;
  }
  return words;
}

/// A superblock's scales of the lane's 4 rows; empty for types without.
template <int kType>
__device__ __forceinline__ uint4 load_super(const uint8* scales, int lane) {
  uint4 words = make_uint4(0, 0, 0, 0);
  const int group = lane / 4;
  if constexpr (kType == kQ4_K || kType == kQ5_K) {
    words = *reinterpret_cast<const uint4*>(scales + 16 * group);
  } else if constexpr (kType == kQ6_K) {
    const uint2 half = *reinterpret_cast<const uint2*>(scales + 8 * group);
    words.x = half.x;
    words.y = half.y;
  }
  return words;
}

__device__ __forceinline__ uint32 word_of(const uint4& words, int i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

/// Half i of the 16-bit numbers in `words`.
__device__ __forceinline__ float half_of(const uint4& words, int i) {
  return f16_to_float(static_cast<f16>(word_of(words, i / 2) >> 16 * (i % 2)));
}

/// Byte i as a float. A conversion has a quarter of the speed of these two.
__device__ __forceinline__ float byte_of(const uint4& words, int i) {
  const uint32 magic = permute_bytes(word_of(words, i / 4), 0x4b000000u, 0x7440u + i % 4);
  return __uint_as_float(magic) - 8388608.f;
}

/// Byte i, signed.
__device__ __forceinline__ float signed_byte_of(const uint4& words, int i) {
  const uint32 magic =
      permute_bytes(word_of(words, i / 4) ^ 0x80808080u, 0x4b000000u, 0x7440u + i % 4);
  return __uint_as_float(magic) - 8388736.f;
}

/// By what the signed bytes of `int8_operand` are larger than the quants.
template <int kType>
constexpr float kOperandScale = kType == kQ4_0   ? 16.f
                                : kType == kQ5_0 ? 8.f
                                : kType == kQ6_K ? 4.f
                                                 : 1.f;

/// Whether a type's values have a minimum besides the scale.
template <int kType>
constexpr bool kHasMinimum = kType == kQ4_1 || kType == kQ5_1 || kType == kQ4_K || kType == kQ5_K;

/// Four neighbouring quants of the lane's row i, half h, as bytes. Types with a zero point give the
/// signed number at the upper end of the byte, which makes the subtraction a flip of the sign bit.
template <int kType>
__device__ __forceinline__ uint32 int8_operand(const BlockWords<kType>& words, int i, int h) {
  if constexpr (kType == kQ8_0) {
    return word_of(words.quants[i / 2], 2 * h + i % 2);
  } else {
    const uint32 word = word_of(words.quants[0], i);
    if constexpr (kType == kQ4_0) {
      return ((h == 0 ? word << 4 : word) & 0xf0f0f0f0u) ^ 0x80808080u;
    } else if constexpr (kType == kQ4_1 || kType == kQ4_K) {
      return (h == 0 ? word : word >> 4) & 0x0f0f0f0fu;
    } else if constexpr (kType == kQ5_0) {
      const uint32 low = (h == 0 ? word << 3 : word >> 1) & 0x78787878u;
      return (low | (words.high.x << (7 - (2 * i + h)) & 0x80808080u)) ^ 0x80808080u;
    } else if constexpr (kType == kQ5_1 || kType == kQ5_K) {
      const int place = 2 * i + h;
      const uint32 fifth = place <= 4 ? words.high.x << (4 - place) : words.high.x >> (place - 4);
      return ((h == 0 ? word : word >> 4) & 0x0f0f0f0fu) | (fifth & 0x10101010u);
    } else {
      const uint32 pairs = i / 2 == 0 ? words.high.x : words.high.y;
      const uint32 low = (h == 0 ? word << 2 : word >> 2) & 0x3c3c3c3cu;
      return (low | (pairs << (6 - 4 * (i % 2) - 2 * h) & 0xc0c0c0c0u)) ^ 0x80808080u;
    }
  }
}

/// What a quant (as `int8_operand` gives it) of row i, half h is multiplied by.
template <int kType>
__device__ __forceinline__ float block_scale(const BlockWords<kType>& words, const uint4& super,
                                             int i, int h) {
  constexpr float kInverse = 1.f / kOperandScale<kType>;
  if constexpr (kType == kQ4_1 || kType == kQ5_1) {
    return half_of(words.scales, 2 * i);
  } else if constexpr (kType == kQ4_K || kType == kQ5_K) {
    return half_of(super, 2 * i) * byte_of(words.scales, 2 * i);
  } else if constexpr (kType == kQ6_K) {
    return half_of(super, i) * signed_byte_of(words.scales, 2 * i + h) * kInverse;
  } else {
    return half_of(words.scales, i) * kInverse;
  }
}

/// What is added to each value of row i, for types with minimums.
template <int kType>
__device__ __forceinline__ float block_minimum(const BlockWords<kType>& words, const uint4& super,
                                               int i) {
  if constexpr (kType == kQ4_1 || kType == kQ5_1) {
    return half_of(words.scales, 2 * i + 1);
  } else {
    return -half_of(super, 2 * i + 1) * byte_of(words.scales, 2 * i + 1);
  }
}
