// Sums and maxima over a warp or a block, in an order that depends on nothing but the block's size.
#pragma once

#include "platform.cuh"

__device__ __forceinline__ float warp_sum(float value) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) value += shuffle_xor(value, lane);
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) value = fmaxf(value, shuffle_xor(value, lane));
  return value;
}

/// The block's sum, known to every thread. Blocks of kThreads; every thread takes part.
template <int kThreads>
__device__ __forceinline__ float block_sum(float value) {
  __shared__ float sums[kThreads / kWarp];
  value = warp_sum(value);
  // What an earlier call left may still be read.
  __syncthreads();
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = value;
  __syncthreads();
  float total = 0;
  for (int warp = 0; warp < kThreads / kWarp; warp++) total += sums[warp];
  return total;
}
