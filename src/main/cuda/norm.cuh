// RMS norms and rotations, alike in the plain and the fused kernels.
#pragma once

#include "reduce.cuh"

template <int kThreads>
__device__ __forceinline__ float block_square_sum(const float* x, int columns) {
  float sum = 0;
  for (int i = threadIdx.x; i < columns; i += kThreads) sum += x[i] * x[i];
  return block_sum<kThreads>(sum);
}

__device__ __forceinline__ float norm_factor(float squareSum, int columns, float epsilon) {
  return 1.f / sqrtf(squareSum / columns + epsilon);
}

/// x plus y, which is normed first where there is a gain: rounded as by one kernel after the other,
/// so the sum is never fused with the product.
__device__ __forceinline__ float with_addend(float x, float y, float yFactor, const float* yGain,
                                             int i) {
  return __fadd_rn(x, yGain != nullptr ? y * yFactor * yGain[i] : y);
}

/// activation(gate) * up; activation 0 is SiLU, 1 GELU by tanh.
__device__ __forceinline__ float gated(float gate, float up, int activation) {
  // 0.5 (1 + tanh u) is the logistic function of 2 u; 1.5957691 is 2 sqrt(2 / pi).
  const float z = activation == 0 ? gate : 1.5957691216f * (gate + 0.044715f * gate * gate * gate);
  return gate / (1.f + expf(-z)) * up;
}

/// Rotates one pair of a head in place.
__device__ __forceinline__ void rotate_pair(float* head, int i, int pairs, int halfSplit,
                                            float cosine, float sine) {
  float& first = head[halfSplit ? i : 2 * i];
  float& second = head[halfSplit ? i + pairs : 2 * i + 1];
  const float a = first;
  const float b = second;
  first = fmaf(a, cosine, -(b * sine));
  second = fmaf(a, sine, b * cosine);
}
