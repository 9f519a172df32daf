// Attention over pages: the page write, decode steps (split over parts of a head's pages, after
// Flash-Decoding), and prefill on tensor cores (attention_prefill.cuh).
//
// A decode step reads every key and value once for all query heads of a group and does no more than
// a few operations on each, so it is bound by memory: 16-byte loads, float32 arithmetic, no tensor
// cores. The page's attention mass costs one more pass over the part's probabilities in shared
// memory.
#include "attention_prefill.cuh"
#include "page_tables.cuh"
#include "reduce.cuh"

namespace {
constexpr int kWriteThreads = 256;
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
/// Query heads whose sums a lane holds at a time.
constexpr int kQueries = 4;
/// Dimensions of a lane: 16 bytes of a key.
constexpr int kDims = 8;
/// Loads of keys under way in a lane.
constexpr int kLoads = 4;
constexpr int kMostGroup = 64;

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
}  // namespace

extern "C" __global__ void __launch_bounds__(kWriteThreads)
    write_kv(const float* keys, const float* values, int kvHeads, int headSize, int pageTokens,
             const int4* segments, int segmentCount, const int2* heads, const int2* pages,
             bf16* pool) {
  const int head = blockIdx.x * (kWriteThreads / kWarp) + threadIdx.x / kWarp;
  if (head >= kvHeads) return;
  const int row = segments[0].x + blockIdx.y;
  int low = 0;
  int high = segmentCount - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (segments[middle].x <= row) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int4 segment = segments[low];
  const int position = segment.z + row - segment.x;
  const HeadList list(pages, heads[low * kvHeads + head], pageTokens);
  const int2 page = list.pages[list.first_after(position) - 1];
  bf16* key = const_cast<bf16*>(key_at(pool, page.x, position - page.y, pageTokens, headSize));
  uint32* toKey = reinterpret_cast<uint32*>(key);
  uint32* toValue = reinterpret_cast<uint32*>(key + pageTokens * headSize);
  const size_t from = (static_cast<size_t>(row) * kvHeads + head) * headSize;
  for (int i = threadIdx.x % kWarp; i < headSize / 2; i += kWarp) {
    toKey[i] = pack_bf16(keys[from + 2 * i], keys[from + 2 * i + 1]);
    toValue[i] = pack_bf16(values[from + 2 * i], values[from + 2 * i + 1]);
  }
}

// Four blocks of threads on a multiprocessor: 64 loads of 512 bytes under way.
extern "C" __global__ void __launch_bounds__(kThreads, 4)
    attend_decode(const float* queries, int queryHeads, int kvHeads, int headSize, float scale,
                  int window, int pageTokens, const int4* segments, const int2* heads,
                  const int2* pages, const int4* parts, const bf16* pool, float* partStates,
                  float* partSums, float* pageSums) {
  DYNAMIC_SHARED(shared);
  const int4 where = parts[blockIdx.x];
  const int head = where.x % kvHeads;
  const int4 segment = segments[where.x / kvHeads];
  const int group = queryHeads / kvHeads;
  const int pageCount = where.z - where.y;
  const int2 listed = heads[where.x];

  float* ownQueries = reinterpret_cast<float*>(shared);
  float* warpSums = ownQueries + group * headSize;
  int2* ownPages = reinterpret_cast<int2*>(warpSums + kWarps * min(group, kQueries) * headSize);
  float* states = reinterpret_cast<float*>(ownPages + pageCount);
  float* scores = states + 2 * group;

  const Part part = {HeadList(pages, listed, pageTokens),
                     where.y,
                     pageCount * pageTokens,
                     segment.z,
                     window_start(segment.z, window),
                     group,
                     headSize,
                     pool,
                     ownPages};
  const float* query =
      queries + (static_cast<size_t>(segment.x) * queryHeads + head * group) * headSize;
  for (int i = threadIdx.x; i < group * headSize; i += kThreads) ownQueries[i] = query[i] * scale;
  for (int i = threadIdx.x; i < pageCount; i += kThreads) {
    ownPages[i] = pages[listed.x + where.y + i];
  }
  __syncthreads();

  float* sums = partSums + static_cast<size_t>(blockIdx.x) * group * headSize;
  if (headSize <= 16) {
    attend_part<2>(part, ownQueries, scores, warpSums, states, sums);
  } else if (headSize <= 32) {
    attend_part<4>(part, ownQueries, scores, warpSums, states, sums);
  } else if (headSize <= 64) {
    attend_part<8>(part, ownQueries, scores, warpSums, states, sums);
  } else if (headSize <= 128) {
    attend_part<16>(part, ownQueries, scores, warpSums, states, sums);
  } else {
    attend_part<32>(part, ownQueries, scores, warpSums, states, sums);
  }

  for (int i = threadIdx.x; i < 2 * group; i += kThreads) {
    partStates[static_cast<size_t>(blockIdx.x) * 2 * group + i] = states[i];
  }
  if (pageSums != nullptr) {
    for (int i = threadIdx.x; i < pageCount * group; i += kThreads) {
      float sum = 0;
      for (int t = 0; t < pageTokens; t++) {
        sum += scores[(i / group * pageTokens + t) * group + i % group];
      }
      pageSums[static_cast<size_t>(listed.x + where.y) * group + i] = sum;
    }
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    merge_decode(int queryHeads, int kvHeads, int headSize, const int4* segments,
                 const int2* heads, const int4* parts, const int2* headParts,
                 const float* partStates, const float* partSums, const float* pageSums, float* out,
                 bf16* outBf16, float* mass) {
  __shared__ float largests[kMostGroup];
  __shared__ float inverses[kMostGroup];
  const int group = queryHeads / kvHeads;
  const int index = blockIdx.x;
  const int2 own = headParts[index];
  const float2* states = reinterpret_cast<const float2*>(partStates) +
                         static_cast<size_t>(own.x) * group;
  // Without the mass only this block's query head is needed.
  const int firstQuery = mass != nullptr ? 0 : static_cast<int>(blockIdx.y);
  const int queryLimit = mass != nullptr ? group : firstQuery + 1;
  for (int g = firstQuery; g < queryLimit; g++) {
    float largest = -infinity();
    for (int i = threadIdx.x; i < own.y; i += kThreads) {
      largest = fmaxf(largest, states[static_cast<size_t>(i) * group + g].x);
    }
    largest = block_max(largest);
    float total = 0;
    for (int i = threadIdx.x; i < own.y; i += kThreads) {
      const float2 state = states[static_cast<size_t>(i) * group + g];
      total += state.y * part_weight(state.x, largest);
    }
    total = block_sum<kThreads>(total);
    if (threadIdx.x == 0) {
      largests[g] = largest;
      inverses[g] = total > 0 ? 1.f / total : 0.f;
    }
  }
  __syncthreads();

  const int g = blockIdx.y;
  const int4 segment = segments[index / kvHeads];
  const size_t to =
      (static_cast<size_t>(segment.x) * queryHeads + index % kvHeads * group + g) * headSize;
  for (int d = threadIdx.x; d < headSize; d += kThreads) {
    float sum = 0;
#pragma unroll 8
    for (int i = 0; i < own.y; i++) {
      const size_t at = (static_cast<size_t>(own.x) + i) * group + g;
      const float weight =
          part_weight(states[static_cast<size_t>(i) * group + g].x, largests[g]);
      sum = fmaf(weight, partSums[at * headSize + d], sum);
    }
    sum *= inverses[g];
    if (out != nullptr) out[to + d] = sum;
    if (outBf16 != nullptr) outBf16[to + d] = float_to_bf16(sum);
  }
  if (mass == nullptr) return;

  // The group's blocks share the parts; the pages outside all parts are the first block's.
  const int2 listed = heads[index];
  for (int i = g; i < own.y; i += group) {
    const int4 part = parts[own.x + i];
    for (int page = part.y + threadIdx.x; page < part.z; page += kThreads) {
      float sum = 0;
      for (int q = 0; q < group; q++) {
        const float weight =
            part_weight(states[static_cast<size_t>(i) * group + q].x, largests[q]) * inverses[q];
        sum = fmaf(pageSums[static_cast<size_t>(listed.x + page) * group + q], weight, sum);
      }
      mass[listed.x + page] = sum / group;
    }
  }
  if (g == 0) {
    const int first = parts[own.x].y;
    const int limit = parts[own.x + own.y - 1].z;
    for (int page = threadIdx.x; page < listed.y; page += kThreads) {
      if (page < first || page >= limit) mass[listed.x + page] = 0;
    }
  }
}

extern "C" __global__ void __launch_bounds__(kPrefillThreads)
    attend_prefill(const float* queries, int queryHeads, int kvHeads, int headSize, float scale,
                   int window, int pageTokens, const int4* segments, const int2* heads,
                   const int2* pages, const bf16* pool, float* out, bf16* outBf16,
                   float* logSums) {
  const PrefillPass pass(queries, queryHeads, kvHeads, headSize, scale, window, pageTokens,
                         segments, heads, pages, pool);
  if (headSize <= 64) {
    attend_tile<64>(pass, out, outBf16, logSums);
  } else if (headSize <= 96) {
    attend_tile<96>(pass, out, outBf16, logSums);
  } else if (headSize <= 128) {
    attend_tile<128>(pass, out, outBf16, logSums);
  } else {
    attend_tile<256>(pass, out, outBf16, logSums);
  }
}

extern "C" __global__ void __launch_bounds__(kPrefillThreads)
    mass_prefill(const float* queries, int queryHeads, int kvHeads, int headSize, float scale,
                 int window, int pageTokens, const int4* segments, const int2* heads,
                 const int2* pages, const bf16* pool, const float* logSums, float* mass) {
  const PrefillPass pass(queries, queryHeads, kvHeads, headSize, scale, window, pageTokens,
                         segments, heads, pages, pool);
  if (headSize <= 64) {
    sum_mass<64>(pass, logSums, mass);
  } else if (headSize <= 96) {
    sum_mass<96>(pass, logSums, mass);
  } else if (headSize <= 128) {
    sum_mass<128>(pass, logSums, mass);
  } else {
    sum_mass<256>(pass, logSums, mass);
  }
}
