// Attention of one row over one part of a head's pages, and the merging of parts.
//
// A decode step reads every key and value once for all query heads of a group and does no more than
// a few operations on each, so it is bound by memory: 16-byte loads, float32 arithmetic, no tensor
// cores. The page's attention mass costs one more pass over the part's probabilities in shared
// memory.
#pragma once

#include "page_tables.cuh"
#include "reduce.cuh"

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
/// Query heads whose sums a lane holds at a time.
constexpr int kQueries = 4;
/// Dimensions of a lane: 16 bytes of a key.
constexpr int kDims = 8;
/// Loads of keys under way in a lane.
constexpr int kLoads = 4;

/// One part of a head's pages, as the block that attends over it sees it.
struct Part {
  HeadList list;
  int from, tokens;
  int position, start;
  int group, headSize;
  const bf16* pool;
  const int2* cached;

  __device__ __forceinline__ bool visible(int token) const {
    if (token >= tokens) return false;
    const int page = list.page_of(token);
    const int at = cached[page].y + token - page * list.pageTokens;
    return at >= start && at <= position;
  }

  __device__ __forceinline__ const bf16* key(int token) const {
    const int page = list.page_of(token);
    return key_at(pool, cached[page].x, token - page * list.pageTokens, list.pageTokens, headSize);
  }
};

__device__ __forceinline__ void unpack(const uint4& words, float (&values)[kDims]) {
  values[0] = bf16_low(words.x);
  values[1] = bf16_high(words.x);
  values[2] = bf16_low(words.y);
  values[3] = bf16_high(words.y);
  values[4] = bf16_low(words.z);
  values[5] = bf16_high(words.z);
  values[6] = bf16_low(words.w);
  values[7] = bf16_high(words.w);
}

/// Sums 16 values over groups of kLanes lanes, halving the number of values at each exchange: 15
/// exchanges at most instead of 16 for each doubling. Lane l of a group ends with the sums
/// `16 / kLanes * l ..`, in v[0] onwards (kLanes 32: of l / 2).
template <int kLanes>
__device__ __forceinline__ void sum_transposed(float (&v)[kLoads * kQueries], int lane) {
  int held = kLoads * kQueries;
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    if (held > 1) {
      held /= 2;
      const bool upper = (lane & offset) != 0;
#pragma unroll
      for (int i = 0; i < kLoads * kQueries / 2; i++) {
        if (i < held) {
          const float sent = upper ? v[i] : v[i + held];
          const float kept = upper ? v[i + held] : v[i];
          v[i] = kept + shuffle_xor(sent, offset);
        }
      }
    } else {
      v[0] += shuffle_xor(v[0], offset);
    }
  }
}

/// Scores of four query heads from `first` on; kLanes lanes share a token.
template <int kLanes>
__device__ __forceinline__ void score_tokens(const Part& part, const float* queries, int first,
                                             float* scores) {
  constexpr int kTokens = kWarp / kLanes;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int dim = lane % kLanes * kDims;
  const bool active = dim < part.headSize;
  float q[kQueries][kDims];
#pragma unroll
  for (int g = 0; g < kQueries; g++) {
#pragma unroll
    for (int d = 0; d < kDims; d++) {
      const bool real = active && first + g < part.group;
      q[g][d] = real ? queries[(first + g) * part.headSize + dim + d] : 0.f;
    }
  }
  for (int base = warp * kTokens * kLoads; base < part.tokens; base += kWarps * kTokens * kLoads) {
    uint4 words[kLoads];
#pragma unroll
    for (int u = 0; u < kLoads; u++) {
      const int token = base + u * kTokens + lane / kLanes;
      words[u] = make_uint4(0, 0, 0, 0);
      if (active && part.visible(token)) {
        words[u] = *reinterpret_cast<const uint4*>(part.key(token) + dim);
      }
    }
    float sums[kLoads * kQueries];
#pragma unroll
    for (int u = 0; u < kLoads; u++) {
      float key[kDims];
      unpack(words[u], key);
#pragma unroll
      for (int g = 0; g < kQueries; g++) {
        float sum = 0;
#pragma unroll
        for (int d = 0; d < kDims; d++) sum = fmaf(q[g][d], key[d], sum);
        sums[u * kQueries + g] = sum;
      }
    }
    sum_transposed<kLanes>(sums, lane);
    constexpr int kHeld = kLanes >= 16 ? 1 : 16 / kLanes;
    const int index = kLanes == 32 ? lane / 2 : lane % kLanes * kHeld;
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int token = base + (index + i) / kQueries * kTokens + lane / kLanes;
      const int g = first + (index + i) % kQueries;
      const bool writes = kLanes < 32 || lane % 2 == 0;
      if (writes && token < part.tokens && g < part.group) {
        scores[token * part.group + g] = part.visible(token) ? sums[i] : -infinity();
      }
    }
  }
}

/// Weighted sums of values of four query heads, each warp's into `sums[warp][query][headSize]`.
template <int kLanes>
__device__ __forceinline__ void sum_values(const Part& part, const float* weights, int first,
                                           int count, float* sums) {
  constexpr int kTokens = kWarp / kLanes;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int dim = lane % kLanes * kDims;
  const bool active = dim < part.headSize;
  const int toValue = part.list.pageTokens * part.headSize;
  float total[kQueries][kDims] = {};
  for (int base = warp * kTokens * kLoads; base < part.tokens; base += kWarps * kTokens * kLoads) {
    uint4 words[kLoads];
#pragma unroll
    for (int u = 0; u < kLoads; u++) {
      const int token = base + u * kTokens + lane / kLanes;
      words[u] = make_uint4(0, 0, 0, 0);
      if (active && part.visible(token)) {
        words[u] = *reinterpret_cast<const uint4*>(part.key(token) + toValue + dim);
      }
    }
#pragma unroll
    for (int u = 0; u < kLoads; u++) {
      const int token = base + u * kTokens + lane / kLanes;
      float value[kDims];
      unpack(words[u], value);
#pragma unroll
      for (int g = 0; g < kQueries; g++) {
        const bool real = token < part.tokens && g < count;
        const float weight = real ? weights[token * part.group + first + g] : 0.f;
#pragma unroll
        for (int d = 0; d < kDims; d++) total[g][d] = fmaf(weight, value[d], total[g][d]);
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kQueries; g++) {
#pragma unroll
    for (int d = 0; d < kDims; d++) {
#pragma unroll
      for (int offset = kLanes; offset < kWarp; offset *= 2) {
        total[g][d] += shuffle_xor(total[g][d], offset);
      }
      if (lane < kLanes && active && g < count) {
        sums[(warp * count + g) * part.headSize + dim + d] = total[g][d];
      }
    }
  }
}

/// Turns the scores to weights against the part's own maximum.
__device__ __forceinline__ void soften(const Part& part, float* scores, float* states) {
  const int lane = threadIdx.x % kWarp;
  for (int g = threadIdx.x / kWarp; g < part.group; g += kWarps) {
    float largest = -infinity();
    for (int token = lane; token < part.tokens; token += kWarp) {
      largest = fmaxf(largest, scores[token * part.group + g]);
    }
    largest = warp_max(largest);
    float sum = 0;
    for (int token = lane; token < part.tokens; token += kWarp) {
      float& score = scores[token * part.group + g];
      // No token seen: no infinity less infinity.
      score = largest == -infinity() ? 0.f : expf(score - largest);
      sum += score;
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      states[2 * g] = largest;
      states[2 * g + 1] = sum;
    }
  }
}

template <int kLanes>
__device__ __forceinline__ void attend_part(const Part& part, const float* queries, float* scores,
                                            float* warpSums, float* states, float* partSums) {
  for (int first = 0; first < part.group; first += kQueries) {
    score_tokens<kLanes>(part, queries, first, scores);
  }
  __syncthreads();
  soften(part, scores, states);
  __syncthreads();
  for (int first = 0; first < part.group; first += kQueries) {
    const int count = min(kQueries, part.group - first);
    sum_values<kLanes>(part, scores, first, count, warpSums);
    __syncthreads();
    const int values = count * part.headSize;
    for (int i = threadIdx.x; i < values; i += kThreads) {
      float sum = 0;
      for (int warp = 0; warp < kWarps; warp++) sum += warpSums[warp * values + i];
      partSums[first * part.headSize + i] = sum;
    }
    __syncthreads();
  }
}

/// What a part weighs beside the largest maximum of all.
__device__ __forceinline__ float part_weight(float maximum, float largest) {
  return maximum == -infinity() ? 0.f : expf(maximum - largest);
}

__device__ __forceinline__ float block_max(float value) {
  __shared__ float maxima[kWarps];
  value = warp_max(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) maxima[threadIdx.x / kWarp] = value;
  __syncthreads();
  for (int warp = 0; warp < kWarps; warp++) value = fmaxf(value, maxima[warp]);
  return value;
}
