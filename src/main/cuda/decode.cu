// Products of a weight matrix and a few rows of activations: a decode step. Memory sets the speed,
// so every weight is read once, in 512-byte runs, and stays quantised until it is in registers.
//
// A block of threads makes 32 outputs of up to 32 rows; its 16 warps share the columns. The rows
// are rounded to 8 bits (round_rows) and multiplied by the int8 matrix instruction, 16 outputs x 8
// rows x 32 columns, exactly; the scales are applied to its sums. With one row seven eighths of the
// instruction are wasted, and it still costs less than dp4a: a warp spends about 25 instructions on
// 1,024 weights. Dense types multiply the rows as two bfloat16 numbers each (16 bits of mantissa).
//
// Which warp sums what, and in what order the sums are merged, does not depend on the number of
// rows: a row's result is the same in every batch.
#include "blocks.cuh"
#include "rounding.cuh"

namespace {
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
/// Neighbouring blocks of 32 columns that a warp works on; chunks go round the warps.
constexpr int kChunk = 4;
constexpr int kRoundThreads = 256;

/// 1.5 * 2^23 as bits: an int32 sum added to it reads as a float of that value plus the sum.
constexpr int kMagicBits = 0x4b400000;
constexpr float kMagic = 12582912.f;

/// Rows of activations, as they are needed.
struct Rows {
  int rows;
  int columns;
  const int8* quants;
  const float2* scales;
  const float* x;
};

/// Sums of a lane: [16 outputs of two][8 rows of kGroups][4 of the matrix instruction].
template <int kGroups>
using Sums = float[2][kGroups][4];

/// Blocks that a warp loads before it multiplies: 1 to 2 KB under way, as many as 64 registers hold
/// beside the sums of 8 rows.
template <int kType>
constexpr int kBatch = kType == kQ4_0 || kType == kQ4_1 || kType == kQ5_0 ? 4 : 2;

/// The sums' dots as floats: a conversion would have a quarter of the speed.
__device__ __forceinline__ float dot_of(int sum) { return __int_as_float(sum) - kMagic; }

/// Adds the products of one block with one group of 8 rows.
template <int kType, int kGroups>
__device__ __forceinline__ void add_block(const BlockWords<kType>& words, const uint4& super,
                                          uint2 b, float4 s, int n, Sums<kGroups>& sums) {
#pragma unroll
  for (int p = 0; p < 2; p++) {
    if constexpr (kType == kQ6_K) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        int dots[4] = {kMagicBits, kMagicBits, kMagicBits, kMagicBits};
        mma_int8_k16(dots, int8_operand<kType>(words, 2 * p, h),
                     int8_operand<kType>(words, 2 * p + 1, h), h == 0 ? b.x : b.y);
#pragma unroll
        for (int c = 0; c < 4; c++) {
          sums[p][n][c] = fmaf(block_scale<kType>(words, super, 2 * p + c / 2, h),
                               dot_of(dots[c]) * (c % 2 == 0 ? s.x : s.z), sums[p][n][c]);
        }
      }
    } else {
      const uint32 a[4] = {
          int8_operand<kType>(words, 2 * p, 0), int8_operand<kType>(words, 2 * p + 1, 0),
          int8_operand<kType>(words, 2 * p, 1), int8_operand<kType>(words, 2 * p + 1, 1)};
      int dots[4] = {kMagicBits, kMagicBits, kMagicBits, kMagicBits};
      mma_int8(dots, a, b.x, b.y);
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const int i = 2 * p + c / 2;
        sums[p][n][c] = fmaf(block_scale<kType>(words, super, i, 0),
                             dot_of(dots[c]) * (c % 2 == 0 ? s.x : s.z), sums[p][n][c]);
        if constexpr (kHasMinimum<kType>) {
          sums[p][n][c] =
              fmaf(block_minimum<kType>(words, super, i), c % 2 == 0 ? s.y : s.w, sums[p][n][c]);
        }
      }
    }
  }
}

/// Adds a chunk of quantised blocks to the sums.
template <int kType, int kGroups>
__device__ __forceinline__ void add_quantised(const uint8* tile, const Rows& x, int firstGroup,
                                              int groups, int firstBlock, int lane,
                                              Sums<kGroups>& sums) {
  const int blocks = x.columns / kBlockColumns;
  uint4 super = make_uint4(0, 0, 0, 0);
  if constexpr (super_bytes(kType) > 0) {
    const int first = firstBlock / kSuperBlocks * kSuperBlocks;
    super = load_super<kType>(
        tile + block_offset(kType, blocks, 0, first) + kSuperBlocks * block_bytes(kType), lane);
  }
#pragma unroll
  for (int batch = 0; batch < kChunk; batch += kBatch<kType>) {
    BlockWords<kType> words[kBatch<kType>];
#pragma unroll
    for (int k = 0; k < kBatch<kType>; k++) {
      // Past the end the last block is loaded again and not used: no branch between the loads.
      const int block = min(firstBlock + batch + k, blocks - 1);
      words[k] = load_block<kType>(tile + block_offset(kType, blocks, 0, block), lane);
    }
#pragma unroll
    for (int k = 0; k < kBatch<kType>; k++) {
      const int block = firstBlock + batch + k;
#pragma unroll
      for (int n = 0; n < kGroups; n++) {
        if (block < blocks && n < groups) {
          const size_t at = static_cast<size_t>(firstGroup + n) * blocks + block;
          const uint2 b = *reinterpret_cast<const uint2*>(x.quants + at * 256 + 8 * lane);
          // {scale, sum} of rows 2t and 2t + 1, whose sums this lane has.
          const float4 s = *reinterpret_cast<const float4*>(x.scales + at * 8 + 2 * (lane % 4));
          add_block<kType, kGroups>(words[k], super, b, s, n, sums);
        }
      }
    }
  }
}

/// Adds the products of a dense block with one group of 8 rows.
template <bool kPairs, int kGroups>
__device__ __forceinline__ void add_dense_group(const uint4* words, const Rows& x, int group,
                                                int block, int lane, int n, Sums<kGroups>& sums) {
  // Rows past the end repeat the last one; nobody reads their sums.
  const int row = min(8 * group + lane / 4, x.rows - 1);
  const float* values =
      x.x + static_cast<size_t>(row) * x.columns + block * kBlockColumns + 2 * (lane % 4);
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const float2 first = *reinterpret_cast<const float2*>(values + 16 * h);
    const float2 second = *reinterpret_cast<const float2*>(values + 16 * h + 8);
    uint32 leading[2], remaining[2];
    split_bf16(first.x, first.y, leading[0], remaining[0]);
    split_bf16(second.x, second.y, leading[1], remaining[1]);
#pragma unroll
    for (int p = 0; p < 2; p++) {
      const uint4 w = words[2 * p + h];
      const uint32 a[4] = {w.x, w.y, w.z, w.w};
      mma_bf16(sums[p][n], a, leading[0], leading[1]);
      mma_bf16(sums[p][n], a, remaining[0], remaining[1]);
      if constexpr (kPairs) {
        const uint4 rest = words[4 + 2 * p + h];
        const uint32 aRest[4] = {rest.x, rest.y, rest.z, rest.w};
        mma_bf16(sums[p][n], aRest, leading[0], leading[1]);
      }
    }
  }
}

/// Adds one block of bfloat16 weights, or of pairs of them, to the sums.
template <bool kPairs, int kGroups>
__device__ __forceinline__ void add_dense(const uint8* record, const Rows& x, int firstGroup,
                                          int groups, int block, int lane, Sums<kGroups>& sums) {
  uint4 words[kPairs ? 8 : 4];
#pragma unroll
  for (int i = 0; i < (kPairs ? 8 : 4); i++) {
    words[i] = load_streaming(reinterpret_cast<const uint4*>(record + 512 * i + 16 * lane));
  }
#pragma unroll
  for (int n = 0; n < kGroups; n++) {
    if (n < groups)
      add_dense_group<kPairs, kGroups>(words, x, firstGroup + n, block, lane, n, sums);
  }
}

/// One warp's share of a tile's sums: chunks of columns, kWarps apart.
template <int kType, int kGroups>
__device__ __forceinline__ void add_tile(const uint8* weight, int tile, const Rows& x,
                                         int firstGroup, int groups, Sums<kGroups>& sums) {
  const int lane = threadIdx.x % kWarp;
  const int blocks = x.columns / kBlockColumns;
  const uint8* records = weight + block_offset(kType, blocks, tile, 0);
  for (int first = threadIdx.x / kWarp * kChunk; first < blocks; first += kWarps * kChunk) {
    if constexpr (is_dense(kType)) {
      for (int block = first; block < min(first + kChunk, blocks); block++) {
        add_dense<kType != kBF16, kGroups>(
            records + static_cast<size_t>(block) * block_bytes(kType), x, firstGroup, groups, block,
            lane, sums);
      }
    } else {
      add_quantised<kType, kGroups>(records, x, firstGroup, groups, first, lane, sums);
    }
  }
}

template <int kGroups>
__device__ __forceinline__ void add_tile_of_type(int type, const uint8* weight, int tile,
                                                 const Rows& x, int firstGroup, int groups,
                                                 Sums<kGroups>& sums) {
  switch (type) {
    case kQ4_0:
      return add_tile<kQ4_0, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kQ4_1:
      return add_tile<kQ4_1, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kQ5_0:
      return add_tile<kQ5_0, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kQ5_1:
      return add_tile<kQ5_1, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kQ8_0:
      return add_tile<kQ8_0, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kQ4_K:
      return add_tile<kQ4_K, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kQ5_K:
      return add_tile<kQ5_K, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kQ6_K:
      return add_tile<kQ6_K, kGroups>(weight, tile, x, firstGroup, groups, sums);
    case kBF16:
      return add_tile<kBF16, kGroups>(weight, tile, x, firstGroup, groups, sums);
    default:
      return add_tile<kF32, kGroups>(weight, tile, x, firstGroup, groups, sums);
  }
}

/// Sums of half the warps: [warp][element][lane].
template <int kGroups>
using Merged = float[kWarps / 2][8 * kGroups][kWarp];

/// Leaves the sums of warps w and w + 8 in `merged[w]`.
template <int kGroups>
__device__ __forceinline__ void merge_halves(const Sums<kGroups>& sums, Merged<kGroups>& merged) {
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  for (int half = 1; half >= 0; half--) {
    if (warp / (kWarps / 2) == half) {
      float (*own)[kWarp] = merged[warp % (kWarps / 2)];
#pragma unroll
      for (int i = 0; i < 8 * kGroups; i++) {
        const float sum = sums[i / (4 * kGroups)][i / 4 % kGroups][i % 4];
        own[i][lane] = half == 1 ? sum : own[i][lane] + sum;
      }
    }
    __syncthreads();
  }
}

/// The sum of an element over the warps.
template <int kGroups>
__device__ __forceinline__ float merged_sum(const Merged<kGroups>& merged, int element, int lane) {
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps / 2; warp++) total += merged[warp][element][lane];
  return total;
}

/// Where a thread's element of the merged sums belongs.
struct Place {
  int element, lane;
  /// Output within the tile, row within the launch's block of rows.
  int output, row;
};

/// The element of output `output` (0..31) and row `row`.
template <int kGroups>
__device__ __forceinline__ Place place_of(int output, int row) {
  const int c = output / 8 % 2 * 2 + row % 2;
  const int element = (output / 16 * kGroups + row / 8) * 4 + c;
  return {element, output % 8 * 4 + row % 8 / 2, output, row};
}

template <int kGroups>
__device__ __forceinline__ void decode_rows(const Rows& x, int accumulate, int type0,
                                            const uint8* weight0, int outRows0, float* out0,
                                            int type1, const uint8* weight1, int outRows1,
                                            float* out1, int type2, const uint8* weight2,
                                            int outRows2, float* out2) {
  __shared__ Merged<kGroups> merged;
  int tile = blockIdx.x;
  int type = type0;
  const uint8* weight = weight0;
  int outRows = outRows0;
  float* out = out0;
  if (tile >= divide_up(outRows, kTileRows)) {
    tile -= divide_up(outRows, kTileRows);
    type = type1;
    weight = weight1;
    outRows = outRows1;
    out = out1;
    if (tile >= divide_up(outRows, kTileRows)) {
      tile -= divide_up(outRows, kTileRows);
      type = type2;
      weight = weight2;
      outRows = outRows2;
      out = out2;
    }
  }
  const int firstGroup = blockIdx.y * kGroups;
  const int groups = min(kGroups, divide_up(x.rows, 8) - firstGroup);
  Sums<kGroups> sums = {};
  add_tile_of_type<kGroups>(type, weight, tile, x, firstGroup, groups, sums);
  merge_halves<kGroups>(sums, merged);
  for (int i = threadIdx.x; i < kTileRows * 8 * groups; i += kThreads) {
    const Place place = place_of<kGroups>(i % kTileRows, i / kTileRows);
    const int output = tile * kTileRows + place.output;
    const int row = 8 * firstGroup + place.row;
    if (output < outRows && row < x.rows) {
      float* target = out + static_cast<size_t>(row) * outRows + output;
      const float sum = merged_sum<kGroups>(merged, place.element, place.lane);
      *target = accumulate ? *target + sum : sum;
    }
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kRoundThreads)
    round_rows(const float* x, int rows, int columns, int8* quants, float2* scales) {
  const int lane = threadIdx.x % kWarp;
  const int blocks = columns / kBlockColumns;
  const int block = blockIdx.x * (kRoundThreads / kWarp) + threadIdx.x / kWarp;
  if (block >= blocks) return;
  const int row = blockIdx.y * 8 + lane / 4;
  float2 values[4] = {};
  if (row < rows) {
    const float* from =
        x + static_cast<size_t>(row) * columns + block * kBlockColumns + 2 * (lane % 4);
#pragma unroll
    for (int i = 0; i < 4; i++) values[i] = *reinterpret_cast<const float2*>(from + 8 * i);
  }
  store_rounded(values, row, block, blocks, quants, scales);
}

// 8 rows: two blocks of threads on a multiprocessor, 32 warps with 1 to 2 KB each under way, cover
// the latency of 3 TB/s. More rows need more sums than 64 registers hold beside the weights; one
// block on a multiprocessor still has about 32 KB under way, twice what 600 ns at 3 TB/s ask for.
extern "C" __global__ void __launch_bounds__(kThreads, 2)
    decode_rows8(int rows, int columns, const int8* quants, const float2* scales, const float* x,
                 int accumulate, int type0, const uint8* weight0, int outRows0, float* out0,
                 int type1, const uint8* weight1, int outRows1, float* out1, int type2,
                 const uint8* weight2, int outRows2, float* out2) {
  decode_rows<1>({rows, columns, quants, scales, x}, accumulate, type0, weight0, outRows0, out0,
                 type1, weight1, outRows1, out1, type2, weight2, outRows2, out2);
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    decode_rows16(int rows, int columns, const int8* quants, const float2* scales, const float* x,
                  int accumulate, int type0, const uint8* weight0, int outRows0, float* out0,
                  int type1, const uint8* weight1, int outRows1, float* out1, int type2,
                  const uint8* weight2, int outRows2, float* out2) {
  decode_rows<2>({rows, columns, quants, scales, x}, accumulate, type0, weight0, outRows0, out0,
                 type1, weight1, outRows1, out1, type2, weight2, outRows2, out2);
}

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    decode_rows32(int rows, int columns, const int8* quants, const float2* scales, const float* x,
                  int accumulate, int type0, const uint8* weight0, int outRows0, float* out0,
                  int type1, const uint8* weight1, int outRows1, float* out1, int type2,
                  const uint8* weight2, int outRows2, float* out2) {
  decode_rows<4>({rows, columns, quants, scales, x}, accumulate, type0, weight0, outRows0, out0,
                 type1, weight1, outRows1, out1, type2, weight2, outRows2, out2);
}
