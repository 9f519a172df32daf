// Products of a weight matrix and many rows of activations, on tensor cores.
//
// A block of threads makes 128 outputs of 128 (or 64) rows; each of its 4 warps holds 32 outputs,
// so a weight is loaded and dequantised by one warp only, straight from memory to the registers
// where the matrix instruction wants it: the device's layout of weights is the instruction's. Only
// the activations pass through shared memory, four stages of 32 columns, filled by asynchronous
// copies. The next block's weights are loaded while the present one is multiplied.
//
// With 128 sums a lane, two blocks of threads fit a multiprocessor: the other one computes while
// one waits. Row tiles are the fastest index of the grid, so that blocks running together share
// their weights in the L2 cache.
#include "blocks.cuh"

namespace {
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kStages = 4;
/// Outputs of a block of threads.
constexpr int kOutputs = kWarps * kTileRows;
/// 32 columns and 16 bytes more: the rows that ldmatrix reads lie in different banks.
constexpr int kRowRoom = kBlockColumns + 8;

/// A lane's operands of one block of weights, before they are unpacked.
template <int kType>
struct Operand {
  BlockWords<kType> words;
};
template <>
struct Operand<kBF16> {
  uint4 parts[4];
};

template <int kType>
__device__ __forceinline__ Operand<kType> load_operand(const uint8* record, int lane) {
  Operand<kType> operand;
  if constexpr (kType == kBF16) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      operand.parts[i] = *reinterpret_cast<const uint4*>(record + 512 * i + 16 * lane);
    }
  } else {
    operand.words = load_block<kType>(record, lane);
  }
  return operand;
}

/// Four bytes of `int8_operand` as values.
template <int kType>
__device__ __forceinline__ void dequantise(uint32 bytes, float scale, float minimum,
                                           float (&values)[4]) {
  // Types with minimums have unsigned bytes; the others' sign is moved out of the way.
  constexpr float kOffset = kHasMinimum<kType> ? 8388608.f : 8388736.f;
  const uint32 quants = kHasMinimum<kType> ? bytes : bytes ^ 0x80808080u;
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const float quant = __uint_as_float(permute_bytes(quants, 0x4b000000u, 0x7440u + j)) - kOffset;
    values[j] = fmaf(quant, scale, minimum);
  }
}

/// The first operand of the matrix instruction: outputs 16 p .. 16 p + 15, columns of half h.
template <int kType>
__device__ __forceinline__ void unpack_operand(const Operand<kType>& operand, const uint4& super,
                                               int p, int h, uint32 (&a)[4]) {
  if constexpr (kType == kBF16) {
    const uint4 part = operand.parts[2 * p + h];
    a[0] = part.x;
    a[1] = part.y;
    a[2] = part.z;
    a[3] = part.w;
  } else {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int i = 2 * p + r;
      float minimum = 0;
      if constexpr (kHasMinimum<kType>) minimum = block_minimum<kType>(operand.words, super, i);
      float values[4];
      dequantise<kType>(int8_operand<kType>(operand.words, i, h),
                        block_scale<kType>(operand.words, super, i, h), minimum, values);
      a[r] = pack_bf16(values[0], values[1]);
      a[2 + r] = pack_bf16(values[2], values[3]);
    }
  }
}

/// What a block of threads computes.
struct Task {
  int rows, columns;
  const bf16* x;
  int accumulate;
  int type;
  const uint8* weight;
  int outRows;
  float* out;
  /// First 32-row tile of the weight.
  int firstTile;
};

/// Begins the copies of one block of columns of kRows rows.
template <int kRows>
__device__ __forceinline__ void copy_rows(const Task& task, int firstRow, int block,
                                          bf16 (*stage)[kRowRoom]) {
#pragma unroll
  for (int i = 0; i < kRows * 4 / kThreads; i++) {
    const int index = i * kThreads + threadIdx.x;
    const int row = firstRow + index / 4;
    const int column = index % 4 * 8;
    const bool valid = row < task.rows && block * kBlockColumns < task.columns;
    const bf16* from =
        valid ? task.x + static_cast<size_t>(row) * task.columns + block * kBlockColumns + column
              : task.x;
    copy_async(&stage[index / 4][column], from, valid);
  }
}

/// `kType` kF32 stands for both types of pairs, of which only the leading half is read.
template <int kType, int kRows>
__device__ __forceinline__ void multiply(const Task& task, bf16 (*stages)[kRows][kRowRoom]) {
  constexpr int kLoaded = is_dense(kType) ? int(kBF16) : kType;
  const int lane = threadIdx.x % kWarp;
  const int blocks = task.columns / kBlockColumns;
  const int firstRow = blockIdx.x * kRows;
  const int tile = task.firstTile + threadIdx.x / kWarp;
  // Warps past the last tile work on it again and store nothing.
  const int loadedTile = min(tile, divide_up(task.outRows, kTileRows) - 1);
  const uint8* records = task.weight + block_offset(kType, blocks, loadedTile, 0);

#pragma unroll
  for (int stage = 0; stage < kStages - 1; stage++) {
    copy_rows<kRows>(task, firstRow, stage, stages[stage]);
    commit_copies();
  }
  float sums[2][kRows / 8][4] = {};
  uint4 super = make_uint4(0, 0, 0, 0);
  Operand<kLoaded> next = load_operand<kLoaded>(records, lane);
  for (int block = 0; block < blocks; block++) {
    const Operand<kLoaded> operand = next;
    if (super_bytes(kType) > 0 && block % kSuperBlocks == 0) {
      super = load_super<kLoaded>(
          records + block_offset(kType, blocks, 0, block) + kSuperBlocks * block_bytes(kType),
          lane);
    }
    if (block + 1 < blocks) {
      next = load_operand<kLoaded>(records + block_offset(kType, blocks, 0, block + 1), lane);
    }
    wait_copies<kStages - 2>();
    // Everyone's copies have come, and everyone is done with the stage that is filled next.
    __syncthreads();
    const int ahead = block + kStages - 1;
    copy_rows<kRows>(task, firstRow, ahead, stages[ahead % kStages]);
    commit_copies();
    const bf16(*x)[kRowRoom] = stages[block % kStages];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      uint32 a[2][4];
#pragma unroll
      for (int p = 0; p < 2; p++) unpack_operand<kLoaded>(operand, super, p, h, a[p]);
#pragma unroll
      for (int n = 0; n < kRows / 8; n += 2) {
        uint32 b[4];
        load_matrices(b, &x[8 * n + lane / 16 * 8 + lane % 8][16 * h + lane / 8 % 2 * 8]);
#pragma unroll
        for (int p = 0; p < 2; p++) {
          mma_bf16(sums[p][n], a[p], b[0], b[1]);
          mma_bf16(sums[p][n + 1], a[p], b[2], b[3]);
        }
      }
    }
  }
  wait_copies<0>();

#pragma unroll
  for (int p = 0; p < 2; p++) {
#pragma unroll
    for (int n = 0; n < kRows / 8; n++) {
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const int output = tile * kTileRows + 16 * p + lane / 4 + 8 * (c / 2);
        const int row = firstRow + 8 * n + 2 * (lane % 4) + c % 2;
        if (output < task.outRows && row < task.rows) {
          float* target = task.out + static_cast<size_t>(row) * task.outRows + output;
          *target = task.accumulate ? *target + sums[p][n][c] : sums[p][n][c];
        }
      }
    }
  }
}

template <int kRows>
__device__ __forceinline__ void multiply_rows(Task task, int type1, const uint8* weight1,
                                              int outRows1, float* out1, int type2,
                                              const uint8* weight2, int outRows2, float* out2) {
  __shared__ __align__(16) bf16 stages[kStages][kRows][kRowRoom];
  int tile = blockIdx.y;
  if (tile >= divide_up(task.outRows, kOutputs)) {
    tile -= divide_up(task.outRows, kOutputs);
    task.type = type1;
    task.weight = weight1;
    task.outRows = outRows1;
    task.out = out1;
    if (tile >= divide_up(outRows1, kOutputs)) {
      tile -= divide_up(outRows1, kOutputs);
      task.type = type2;
      task.weight = weight2;
      task.outRows = outRows2;
      task.out = out2;
    }
  }
  task.firstTile = tile * kWarps;
  switch (task.type) {
    case kQ4_0:
      return multiply<kQ4_0, kRows>(task, stages);
    case kQ4_1:
      return multiply<kQ4_1, kRows>(task, stages);
    case kQ5_0:
      return multiply<kQ5_0, kRows>(task, stages);
    case kQ5_1:
      return multiply<kQ5_1, kRows>(task, stages);
    case kQ8_0:
      return multiply<kQ8_0, kRows>(task, stages);
    case kQ4_K:
      return multiply<kQ4_K, kRows>(task, stages);
    case kQ5_K:
      return multiply<kQ5_K, kRows>(task, stages);
    case kQ6_K:
      return multiply<kQ6_K, kRows>(task, stages);
    case kBF16:
      return multiply<kBF16, kRows>(task, stages);
    default:
      return multiply<kF32, kRows>(task, stages);
  }
}
}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 2)
    prefill_rows128(int rows, int columns, const bf16* x, int accumulate, int type0,
                    const uint8* weight0, int outRows0, float* out0, int type1,
                    const uint8* weight1, int outRows1, float* out1, int type2,
                    const uint8* weight2, int outRows2, float* out2) {
  multiply_rows<128>({rows, columns, x, accumulate, type0, weight0, outRows0, out0, 0}, type1,
                     weight1, outRows1, out1, type2, weight2, outRows2, out2);
}

extern "C" __global__ void __launch_bounds__(kThreads, 3)
    prefill_rows64(int rows, int columns, const bf16* x, int accumulate, int type0,
                   const uint8* weight0, int outRows0, float* out0, int type1, const uint8* weight1,
                   int outRows1, float* out1, int type2, const uint8* weight2, int outRows2,
                   float* out2) {
  multiply_rows<64>({rows, columns, x, accumulate, type0, weight0, outRows0, out0, 0}, type1,
                    weight1, outRows1, out1, type2, weight2, outRows2, out2);
}
