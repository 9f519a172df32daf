// Everything between the matrix products: embeddings, norms, rotary embedding, gates, sums.
// All of it is bound by memory and small beside the weights; one pass, coalesced, is enough.
#include "norm.cuh"
#include "reduce.cuh"
#include "weights.cuh"

namespace {
constexpr int kThreads = 256;
/// Values a thread of the flat kernels works on.
constexpr int kPerThread = 4;

__device__ void store_either(float value, int i, float* out, bf16* outBf16) {
  if (out != nullptr) out[i] = value;
  if (outBf16 != nullptr) outBf16[i] = float_to_bf16(value);
}

__device__ size_t row_offset(int columns) { return static_cast<size_t>(blockIdx.x) * columns; }
}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads)
    embed_rows(const uint8* table, int type, int columns, const int* tokens, float scale,
               float* out) {
  const int token = tokens[blockIdx.x];
  float* row = out + row_offset(columns);
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    row[i] = scale * weight_value(table, type, columns, token, i);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    rms_norm(const float* x, const float* gain, int columns, float epsilon, float* out,
             bf16* outBf16) {
  const size_t at = row_offset(columns);
  x += at;
  const float factor = norm_factor(block_square_sum<kThreads>(x, columns), columns, epsilon);
  if (out != nullptr) out += at;
  if (outBf16 != nullptr) outBf16 += at;
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    store_either(x[i] * factor * gain[i], i, out, outBf16);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    add_rms_norm(float* x, const float* y, const float* yGain, const float* gain, int columns,
                 float epsilon, float* out, bf16* outBf16) {
  const size_t at = row_offset(columns);
  x += at;
  y += at;
  float yFactor = 1;
  if (yGain != nullptr)
    yFactor = norm_factor(block_square_sum<kThreads>(y, columns), columns, epsilon);
  float squares = 0;
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    const float sum = with_addend(x[i], y[i], yFactor, yGain, i);
    x[i] = sum;
    squares += sum * sum;
  }
  const float factor = norm_factor(block_sum<kThreads>(squares), columns, epsilon);
  if (out != nullptr) out += at;
  if (outBf16 != nullptr) outBf16 += at;
  // A thread reads what it wrote itself: no barrier is needed.
  for (int i = threadIdx.x; i < columns; i += kThreads) {
    store_either(x[i] * factor * gain[i], i, out, outBf16);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    rms_norm_heads(float* x, const float* gain, int heads, int headSize, float epsilon) {
  const int head = blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (head >= heads) return;
  const int lane = threadIdx.x % kWarp;
  float* values = x + (static_cast<size_t>(blockIdx.y) * heads + head) * headSize;
  float squares = 0;
  for (int d = lane; d < headSize; d += kWarp) squares += values[d] * values[d];
  const float factor = norm_factor(warp_sum(squares), headSize, epsilon);
  for (int d = lane; d < headSize; d += kWarp) values[d] = values[d] * factor * gain[d];
}

extern "C" __global__ void __launch_bounds__(kThreads)
    add_bias(float* x, const float* bias, int columns) {
  const int column = blockIdx.x * kThreads + threadIdx.x;
  if (column < columns) x[static_cast<size_t>(blockIdx.y) * columns + column] += bias[column];
}

extern "C" __global__ void __launch_bounds__(kThreads) add(float* x, const float* y, int count) {
  for (int i = 0; i < kPerThread; i++) {
    const int at = (blockIdx.x * kPerThread + i) * kThreads + threadIdx.x;
    if (at < count) x[at] += y[at];
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    gate(float* gate, const float* up, int count, int activation, bf16* outBf16) {
  for (int i = 0; i < kPerThread; i++) {
    const int at = (blockIdx.x * kPerThread + i) * kThreads + threadIdx.x;
    if (at >= count) return;
    store_either(gated(gate[at], up[at], activation), at, gate, outBf16);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    round_bf16(const float* x, int count, bf16* out) {
  for (int i = 0; i < kPerThread; i++) {
    const int at = (blockIdx.x * kPerThread + i) * kThreads + threadIdx.x;
    if (at < count) out[at] = float_to_bf16(x[at]);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    rope_table(const int* positions, const float* inverseFrequencies, int pairs, float* cosines,
               float* sines) {
  const int pair = blockIdx.x * kThreads + threadIdx.x;
  if (pair >= pairs) return;
  // At position 131,072 a float32 angle is off by up to 0.008.
  const double angle = static_cast<double>(positions[blockIdx.y]) * inverseFrequencies[pair];
  const size_t at = static_cast<size_t>(blockIdx.y) * pairs + pair;
  cosines[at] = static_cast<float>(cos(angle));
  sines[at] = static_cast<float>(sin(angle));
}

extern "C" __global__ void __launch_bounds__(kThreads)
    rope(float* x, const float* cosines, const float* sines, int heads, int headSize, int pairs,
         int halfSplit) {
  const int head = blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (head >= heads) return;
  float* values = x + (static_cast<size_t>(blockIdx.y) * heads + head) * headSize;
  const size_t table = static_cast<size_t>(blockIdx.y) * pairs;
  for (int i = threadIdx.x % kWarp; i < pairs; i += kWarp) {
    rotate_pair(values, i, pairs, halfSplit, cosines[table + i], sines[table + i]);
  }
}
