// Rows of activations rounded to 8 bits (README.md, "Rounded activations").
#pragma once

#include "platform.cuh"

/// Rounds one value.
__device__ __forceinline__ uint32 rounded_byte(float value, float inverse) {
  return static_cast<uint32>(static_cast<int>(rintf(value * inverse))) & 0xffu;
}

/// Four neighbouring lanes round and store 32 columns of a row. Lane t has the pairs of columns
/// 2 t, 2 t + 8, 2 t + 16 and 2 t + 24. Every lane of the warp takes part.
__device__ __forceinline__ void store_rounded(const float2 (&values)[4], int row, int block,
                                              int blocks, int8* quants, float2* scales) {
  const int t = threadIdx.x % 4;
  float largest = 0;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    largest = fmaxf(largest, fmaxf(fabsf(values[i].x), fabsf(values[i].y)));
  }
  largest = fmaxf(largest, shuffle_xor(largest, 1));
  largest = fmaxf(largest, shuffle_xor(largest, 2));
  // Below this a quotient would overflow; such a block is zeros for every purpose.
  const float inverse = largest < 1.17549435e-38f ? 0.f : 127.f / largest;
  uint32 words[2];
  int sum = 0;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    words[h] = 0;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float2 pair = values[2 * h + j / 2];
      const uint32 byte = rounded_byte(j % 2 == 0 ? pair.x : pair.y, inverse);
      words[h] |= byte << 8 * j;
      sum += static_cast<int8>(byte);
    }
  }
  sum += shuffle_xor(sum, 1);
  sum += shuffle_xor(sum, 2);
  if (block >= blocks) return;
  const size_t at = static_cast<size_t>(row / 8) * blocks + block;
  *reinterpret_cast<uint2*>(quants + at * 256 + 8 * (row % 8 * 4 + t)) =
      make_uint2(words[0], words[1]);
  if (t == 0) {
    const float scale = largest / 127.f;
    scales[at * 8 + row % 8] = make_float2(scale, scale * sum);
  }
}
