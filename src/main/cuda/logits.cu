// What the engine wants of the logits of a step, so that only a few numbers go to the host.
#include "reduce.cuh"

namespace {
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
/// Logits of a part, held in registers between its maximum and its sums.
constexpr int kPerThread = 16;
constexpr int kPartColumns = kThreads * kPerThread;
constexpr int kTopThreads = 1024;
constexpr int kMostTop = 1024;

/// The largest value and its first index.
struct Largest {
  float value;
  int index;
};

__device__ __forceinline__ Largest larger(Largest a, Largest b) {
  const bool second = b.value > a.value || (b.value == a.value && b.index < a.index);
  return second ? b : a;
}

__device__ __forceinline__ Largest warp_largest(Largest own) {
  for (int lane = kWarp / 2; lane > 0; lane /= 2) {
    own = larger(own, {shuffle_xor(own.value, lane), shuffle_xor(own.index, lane)});
  }
  return own;
}

/// A float as an unsigned number of the same order; NaN comes first.
__device__ __forceinline__ uint32 ordered(float value) {
  const uint32 bits = __float_as_uint(value);
  if (value != value) return 0;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads)
    logit_parts(const float* logits, int columns, float4* parts) {
  __shared__ float values[kWarps];
  __shared__ int indices[kWarps];
  const float* row = logits + static_cast<size_t>(blockIdx.y) * columns;
  const int first = blockIdx.x * kPartColumns;
  float own[kPerThread];
  Largest largest = {-infinity(), 0x7fffffff};
#pragma unroll
  for (int i = 0; i < kPerThread; i++) {
    const int column = first + i * kThreads + threadIdx.x;
    own[i] = column < columns ? row[column] : -infinity();
    if (column < columns) largest = larger(largest, {own[i], column});
  }
  largest = warp_largest(largest);
  if (threadIdx.x % kWarp == 0) {
    values[threadIdx.x / kWarp] = largest.value;
    indices[threadIdx.x / kWarp] = largest.index;
  }
  __syncthreads();
  for (int warp = 0; warp < kWarps; warp++) {
    largest = larger(largest, {values[warp], indices[warp]});
  }
  float sum = 0;
  float moment = 0;
#pragma unroll
  for (int i = 0; i < kPerThread; i++) {
    const float below = largest.value - own[i];
    const float e = own[i] == -infinity() ? 0.f : expf(-below);
    sum += e;
    // Not infinity times zero.
    moment += e == 0 ? 0.f : below * e;
  }
  sum = block_sum<kThreads>(sum);
  moment = block_sum<kThreads>(moment);
  if (threadIdx.x == 0) {
    parts[static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x] =
        make_float4(__int_as_float(largest.index), largest.value, sum, moment);
  }
}

extern "C" __global__ void __launch_bounds__(kWarp)
    logit_statistics(const float4* parts, int partCount, float4* out) {
  parts += static_cast<size_t>(blockIdx.x) * partCount;
  const int lane = threadIdx.x;
  Largest largest = {-infinity(), 0x7fffffff};
  for (int i = lane; i < partCount; i += kWarp) {
    largest = larger(largest, {parts[i].y, __float_as_int(parts[i].x)});
  }
  largest = warp_largest(largest);
  float sum = 0;
  float moment = 0;
  for (int i = lane; i < partCount; i += kWarp) {
    const float4 part = parts[i];
    const float below = largest.value - part.y;
    const float weight = part.y == -infinity() ? 0.f : expf(-below);
    if (weight > 0) {
      sum += part.z * weight;
      moment += weight * (part.w + below * part.z);
    }
  }
  sum = warp_sum(sum);
  moment = warp_sum(moment);
  if (lane == 0) {
    const float log = logf(sum);
    // A row of nothing but NaN or -infinity has no largest logit: its first one stands for it.
    const int argmax = largest.index == 0x7fffffff ? 0 : largest.index;
    out[blockIdx.x] =
        make_float4(__int_as_float(argmax), largest.value, largest.value + log, log + moment / sum);
  }
}

// Radix selection: four passes find the k-th largest value bit for bit, one collects, one sorts.
extern "C" __global__ void __launch_bounds__(kTopThreads)
    top_k(const float* logits, int columns, int k, int* indices, float* values) {
  __shared__ int histogram[256];
  __shared__ uint64 kept[kMostTop];
  __shared__ int warpCounts[kTopThreads / kWarp];
  __shared__ uint32 sharedPrefix;
  __shared__ int sharedWanted;
  __shared__ int collected;
  const float* row = logits + static_cast<size_t>(blockIdx.x) * columns;
  const int thread = threadIdx.x;
  uint32 prefix = 0;
  int wanted = k;
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (thread < 256) histogram[thread] = 0;
    __syncthreads();
    const uint32 mask = shift == 24 ? 0 : 0xffffffffu << (shift + 8);
    for (int i = thread; i < columns; i += kTopThreads) {
      const uint32 key = ordered(row[i]);
      if ((key & mask) == prefix) atomicAdd(&histogram[key >> shift & 255], 1);
    }
    __syncthreads();
    if (thread == 0) {
      int digit = 255;
      while (digit > 0 && histogram[digit] < wanted) {
        wanted -= histogram[digit];
        digit--;
      }
      sharedPrefix = prefix | static_cast<uint32>(digit) << shift;
      sharedWanted = wanted;
      collected = 0;
    }
    __syncthreads();
    prefix = sharedPrefix;
    wanted = sharedWanted;
  }
  // `prefix` is the k-th largest; of its equals the first `wanted` are taken.
  for (int i = thread; i < kMostTop; i += kTopThreads) kept[i] = 0;
  __syncthreads();
  int equals = 0;
  for (int base = 0; base < columns; base += kTopThreads) {
    const int i = base + thread;
    const uint32 key = i < columns ? ordered(row[i]) : 0;
    // In descending order of this the smaller index comes first among equals.
    const uint64 entry = static_cast<uint64>(key) << 32 | (0xffffffffu - static_cast<uint32>(i));
    if (i < columns && key > prefix) kept[atomicAdd(&collected, 1)] = entry;
    if (equals >= wanted) continue;
    const bool equal = i < columns && key == prefix;
    const uint32 votes = __ballot_sync(kAllLanes, equal);
    if (thread % kWarp == 0) warpCounts[thread / kWarp] = __popc(votes);
    __syncthreads();
    int before = equals;
    for (int warp = 0; warp < kTopThreads / kWarp; warp++) {
      if (warp < thread / kWarp) before += warpCounts[warp];
      equals += warpCounts[warp];
    }
    before += __popc(votes & ((1u << thread % kWarp) - 1));
    // From the end, where the larger ones do not reach: k less those wanted are larger.
    if (equal && before < wanted) kept[k - 1 - before] = entry;
    __syncthreads();
  }
  __syncthreads();
  int size = 1;
  while (size < k) size *= 2;
  for (int length = 2; length <= size; length *= 2) {
    for (int step = length / 2; step > 0; step /= 2) {
      const int other = thread ^ step;
      if (thread < size && other > thread) {
        const bool descending = (thread & length) == 0;
        const uint64 a = kept[thread];
        const uint64 b = kept[other];
        if ((a < b) == descending) {
          kept[thread] = b;
          kept[other] = a;
        }
      }
      __syncthreads();
    }
  }
  if (thread < k) {
    const int index = static_cast<int>(0xffffffffu - static_cast<uint32>(kept[thread]));
    const size_t to = static_cast<size_t>(blockIdx.x) * k + thread;
    indices[to] = index;
    values[to] = row[index];
  }
}
