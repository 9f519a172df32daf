// Attention over pages: the page write, decode steps (split over parts of a head's pages, after
// Flash-Decoding; attention_decode.cuh), and prefill on tensor cores (attention_prefill.cuh).
#include "attention_decode.cuh"
#include "attention_prefill.cuh"

namespace {
constexpr int kWriteThreads = 256;
constexpr int kMostGroup = 64;
}  // namespace

extern "C" __global__ void __launch_bounds__(kWriteThreads)
    write_kv(const float* keys, const float* values, int kvHeads, int headSize, int pageTokens,
             const int4* segments, int segmentCount, const int2* heads, const int2* pages,
             bf16* pool) {
  const int head = blockIdx.x * (kWriteThreads / kWarp) + threadIdx.x / kWarp;
  if (head >= kvHeads) return;
  const int row = segments[0].x + blockIdx.y;
  const int index = segment_of(segments, segmentCount, row);
  const int position = segments[index].z + row - segments[index].x;
  bf16* key = writable_key(HeadList(pages, heads[index * kvHeads + head], pageTokens), position,
                           pool, headSize);
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
    merge_decode(int queryHeads, int kvHeads, int headSize, const int4* segments, const int2* heads,
                 const int4* parts, const int2* headParts, const float* partStates,
                 const float* partSums, const float* pageSums, float* out, bf16* outBf16,
                 float* mass) {
  __shared__ float largests[kMostGroup];
  __shared__ float inverses[kMostGroup];
  const int group = queryHeads / kvHeads;
  const int index = blockIdx.x;
  const int2 own = headParts[index];
  const float2* states =
      reinterpret_cast<const float2*>(partStates) + static_cast<size_t>(own.x) * group;
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
      const float weight = part_weight(states[static_cast<size_t>(i) * group + g].x, largests[g]);
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
                   const int2* pages, const bf16* pool, float* out, bf16* outBf16, float* logSums) {
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
