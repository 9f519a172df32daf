// Decode steps' small operations in one pass each: what is written is what the next product reads.
// Bit for bit what the kernels of elementwise.cu, decode.cu and attention.cu give one by one.
#include "norm.cuh"
#include "page_tables.cuh"
#include "rounding.cuh"

namespace {
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMostHead = 256;
/// Blocks of 32 columns that the block of threads rounds at a time.
constexpr int kBlocksAtOnce = kThreads / 4;
}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads)
    rms_norm_rounded(float* x, const float* y, const float* yGain, const float* gain, int rows,
                     int columns, float epsilon, int8* quants, float2* scales) {
  const int row = blockIdx.x;
  const int blocks = columns / 32;
  const bool real = row < rows;
  float factor = 0;
  if (real) {
    x += static_cast<size_t>(row) * columns;
    if (y != nullptr) {
      y += static_cast<size_t>(row) * columns;
      float yFactor = 1;
      if (yGain != nullptr) {
        yFactor = norm_factor(block_square_sum<kThreads>(y, columns), columns, epsilon);
      }
      for (int i = threadIdx.x; i < columns; i += kThreads) {
        x[i] = with_addend(x[i], y[i], yFactor, yGain, i);
      }
      __syncthreads();
    }
    factor = norm_factor(block_square_sum<kThreads>(x, columns), columns, epsilon);
  }
  for (int first = 0; first < blocks; first += kBlocksAtOnce) {
    const int block = first + threadIdx.x / 4;
    float2 values[4] = {};
    if (real && block < blocks) {
      const int from = 32 * block + 2 * (threadIdx.x % 4);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int at = from + 8 * i;
        values[i] = make_float2(x[at] * factor * gain[at], x[at + 1] * factor * gain[at + 1]);
      }
    }
    store_rounded(values, row, block, blocks, quants, scales);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    gate_rounded(const float* gate, const float* up, int rows, int columns, int activation,
                 int8* quants, float2* scales) {
  const int row = blockIdx.y;
  const int blocks = columns / 32;
  const int block = blockIdx.x * kBlocksAtOnce + threadIdx.x / 4;
  float2 values[4] = {};
  if (row < rows && block < blocks) {
    const size_t from = static_cast<size_t>(row) * columns + 32 * block + 2 * (threadIdx.x % 4);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 g = *reinterpret_cast<const float2*>(gate + from + 8 * i);
      const float2 u = *reinterpret_cast<const float2*>(up + from + 8 * i);
      values[i] = make_float2(gated(g.x, u.x, activation), gated(g.y, u.y, activation));
    }
  }
  store_rounded(values, row, block, blocks, quants, scales);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    finish_qkv(float* queries, const float* keys, const float* values, const float* queryBias,
               const float* keyBias, const float* valueBias, const float* queryGain,
               const float* keyGain, float epsilon, const float* cosines, const float* sines,
               int pairs, int halfSplit, int queryHeads, int kvHeads, int headSize, int pageTokens,
               const int4* segments, int segmentCount, const int2* heads, const int2* pages,
               bf16* pool) {
  __shared__ float turned[kWarps][kMostHead];
  const int lane = threadIdx.x % kWarp;
  float* own = turned[threadIdx.x / kWarp];
  int head = blockIdx.x * kWarps + threadIdx.x / kWarp;
  if (head >= queryHeads + 2 * kvHeads) return;
  const bool isQuery = head < queryHeads;
  const bool isValue = head >= queryHeads + kvHeads;
  head -= isQuery ? 0 : isValue ? queryHeads + kvHeads : queryHeads;
  const int row = segments[0].x + blockIdx.y;
  const float* from = isQuery ? queries : isValue ? values : keys;
  const float* bias = isQuery ? queryBias : isValue ? valueBias : keyBias;
  const float* gain = isQuery ? queryGain : isValue ? nullptr : keyGain;
  from += (static_cast<size_t>(row) * (isQuery ? queryHeads : kvHeads) + head) * headSize;

  float squares = 0;
  for (int d = lane; d < headSize; d += kWarp) {
    const float value = bias != nullptr ? from[d] + bias[head * headSize + d] : from[d];
    own[d] = value;
    squares += value * value;
  }
  if (gain != nullptr) {
    const float factor = norm_factor(warp_sum(squares), headSize, epsilon);
    for (int d = lane; d < headSize; d += kWarp) own[d] = own[d] * factor * gain[d];
  }
  __syncwarp();
  if (!isValue) {
    const size_t table = static_cast<size_t>(row) * pairs;
    for (int i = lane; i < pairs; i += kWarp) {
      rotate_pair(own, i, pairs, halfSplit, cosines[table + i], sines[table + i]);
    }
    __syncwarp();
  }
  if (isQuery) {
    float* to = queries + (static_cast<size_t>(row) * queryHeads + head) * headSize;
    for (int d = lane; d < headSize; d += kWarp) to[d] = own[d];
    return;
  }
  const int index = segment_of(segments, segmentCount, row);
  const int position = segments[index].z + row - segments[index].x;
  bf16* key = writable_key(HeadList(pages, heads[index * kvHeads + head], pageTokens), position,
                           pool, headSize);
  uint32* to = reinterpret_cast<uint32*>(isValue ? key + pageTokens * headSize : key);
  for (int i = lane; i < headSize / 2; i += kWarp) to[i] = pack_bf16(own[2 * i], own[2 * i + 1]);
}
