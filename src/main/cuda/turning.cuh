// What the rotary embedding turns with the position: the angle of a position is that of its block's
// first position plus that within the block, so that two small tables serve any length.
#pragma once

#include "platform.cuh"

/// Tokens of a block: as many as have their sketches together.
constexpr int kTurnBlock = 64;

/// Cosines and sines of a RoPE; `pairs` 0 where nothing is turned.
struct Turns {
  /// {cosine, sine} at the blocks' first positions, `[block][pair]`.
  const float2* blocks;
  /// {cosine, sine} within a block, `[pair][kTurnBlock]`.
  const float2* offsets;
  int pairs;
  bool halfSplit;

  __device__ __forceinline__ Turns(const float2* blocks, const float2* offsets, int pairs,
                                   int halfSplit)
      : blocks(blocks), offsets(offsets), pairs(pairs), halfSplit(halfSplit != 0) {}

  /// {cosine, sine} of a pair at a position.
  __device__ __forceinline__ float2 at(int position, int pair) const {
    const float2 block = blocks[static_cast<size_t>(position / kTurnBlock) * pairs + pair];
    const float2 offset = offsets[pair * kTurnBlock + position % kTurnBlock];
    return make_float2(block.x * offset.x - block.y * offset.y,
                       block.y * offset.x + block.x * offset.y);
  }

  __device__ __forceinline__ bool turns(int dimension) const { return dimension < 2 * pairs; }
  __device__ __forceinline__ int pair_of(int dimension) const {
    return !halfSplit ? dimension / 2 : dimension < pairs ? dimension : dimension - pairs;
  }
  __device__ __forceinline__ int first(int pair) const { return halfSplit ? pair : 2 * pair; }
  __device__ __forceinline__ int second(int pair) const {
    return halfSplit ? pair + pairs : 2 * pair + 1;
  }

  /// Dimension `d` of a vector turned by `position` positions, or back where `sign` is -1.
  template <typename Read>
  __device__ __forceinline__ float turned(const Read& x, int d, int position, float sign) const {
    if (!turns(d)) return x(d);
    const int pair = pair_of(d);
    const float2 turn = at(position, pair);
    const int a = first(pair);
    const int b = second(pair);
    return d == a ? x(a) * turn.x - sign * x(b) * turn.y : x(b) * turn.x + sign * x(a) * turn.y;
  }
};
