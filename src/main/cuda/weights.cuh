// Single values of a weight matrix in the device's layout (README.md, "Weight matrix").
#pragma once

#include "platform.cuh"

/// ggml's ids of the types.
enum WeightType {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30
};

constexpr int kTileRows = 32;
constexpr int kBlockColumns = 32;
/// Blocks of a K type's superblock.
constexpr int kSuperBlocks = 8;
/// Bytes of the nibbles of 32 x 32 values, of the fifth bits, the pairs, the values.
constexpr int kNibbleBytes = 512;
constexpr int kFifthBytes = 128;
constexpr int kPairBytes = 256;
constexpr int kValueBytes = 2048;

/// Bytes of 32 rows by 32 columns; of K types without the superblock's scales.
__device__ constexpr int block_bytes(int type) {
  switch (type) {
    case kQ4_0:
    case kQ4_K:
      return 576;
    case kQ4_1:
      return 640;
    case kQ5_0:
    case kQ5_K:
      return 704;
    case kQ5_1:
      return 768;
    case kQ8_0:
      return 1088;
    case kQ6_K:
      return 832;
    case kBF16:
      return 2048;
    default:
      return 4096;
  }
}

/// Bytes after a superblock's eight blocks; 0 for types that have none.
__device__ constexpr int super_bytes(int type) {
  return type == kQ4_K || type == kQ5_K ? 128 : type == kQ6_K ? 64 : 0;
}

__device__ constexpr bool is_dense(int type) {
  return type == kF32 || type == kF16 || type == kBF16;
}

/// Where block b of a tile begins, in a matrix of so many blocks a row.
__device__ __forceinline__ size_t block_offset(int type, int blocks, int tile, int block) {
  const size_t before = static_cast<size_t>(tile) * blocks + block;
  return before * block_bytes(type) +
         (static_cast<size_t>(tile) * (blocks / kSuperBlocks) + block / kSuperBlocks) *
             super_bytes(type);
}

/// Where a value lies in a record: its lane, half, and byte of the half.
struct LanePlace {
  int lane, half, byte;
};

/// `row` and `column` within the record.
__device__ __forceinline__ LanePlace lane_place(int row, int column) {
  const int inHalf = column % 16;
  const int second = inHalf / 8;
  return {row % 8 * 4 + inHalf % 8 / 2, column / 16, second * 2 + inHalf % 2};
}

/// Index of a row's scale in its array of 32.
__device__ __forceinline__ int scale_index(int row) { return row % 8 * 4 + row / 8; }

__device__ __forceinline__ int nibble_at(const uint8* record, LanePlace at, int quarter) {
  return record[16 * at.lane + 4 * quarter + at.byte] >> 4 * at.half & 15;
}

__device__ __forceinline__ int fifth_bit_at(const uint8* bits, LanePlace at, int quarter) {
  return bits[4 * at.lane + at.byte] >> (2 * quarter + at.half) & 1;
}

/// The value at a row and column of the matrix: slow, for single rows.
__device__ inline float weight_value(const uint8* weight, int type, int columns, int row,
                                     int column) {
  const int blocks = columns / kBlockColumns;
  const int block = column / kBlockColumns;
  const int tile = row / kTileRows;
  const uint8* record = weight + block_offset(type, blocks, tile, block);
  const int inTile = row % kTileRows;
  const int quarter = inTile / 8;
  const LanePlace at = lane_place(inTile, column % kBlockColumns);
  if (is_dense(type)) {
    const int part = 2 * (quarter / 2) + at.half;
    const int element = at.byte % 2 + quarter % 2 * 2 + at.byte / 2 * 4;
    const bf16* values = reinterpret_cast<const bf16*>(record) + 256 * part + 8 * at.lane + element;
    const float leading = bf16_to_float(*values);
    return type == kBF16 ? leading : leading + bf16_to_float(values[kValueBytes / 2]);
  }
  const int scale = scale_index(inTile);
  const f16* super = reinterpret_cast<const f16*>(
      weight + block_offset(type, blocks, tile, block / kSuperBlocks * kSuperBlocks) +
      kSuperBlocks * block_bytes(type));
  switch (type) {
    case kQ8_0: {
      const int place =
          512 * (quarter / 2) + 16 * at.lane + 4 * (2 * at.half + quarter % 2) + at.byte;
      const f16* scales = reinterpret_cast<const f16*>(record + 1024);
      return f16_to_float(scales[scale]) * static_cast<int8>(record[place]);
    }
    case kQ6_K: {
      const int pairByte = 8 * at.lane + 4 * (quarter / 2) + at.byte;
      const int high = record[kNibbleBytes + pairByte] >> (4 * (quarter % 2) + 2 * at.half) & 3;
      const int quant = (nibble_at(record, at, quarter) | high << 4) - 32;
      const int8* scales = reinterpret_cast<const int8*>(record + kNibbleBytes + kPairBytes);
      return f16_to_float(super[scale]) * scales[2 * scale + at.half] * quant;
    }
    case kQ4_K:
    case kQ5_K: {
      int quant = nibble_at(record, at, quarter);
      const uint8* scales = record + kNibbleBytes;
      if (type == kQ5_K) {
        quant |= fifth_bit_at(scales, at, quarter) << 4;
        scales += kFifthBytes;
      }
      return f16_to_float(super[2 * scale]) * scales[2 * scale] * quant -
             f16_to_float(super[2 * scale + 1]) * scales[2 * scale + 1];
    }
    default: {
      int quant = nibble_at(record, at, quarter);
      const uint8* after = record + kNibbleBytes;
      if (type == kQ5_0 || type == kQ5_1) {
        quant |= fifth_bit_at(after, at, quarter) << 4;
        after += kFifthBytes;
      }
      const f16* scales = reinterpret_cast<const f16*>(after);
      if (type == kQ4_1 || type == kQ5_1) {
        return f16_to_float(scales[2 * scale]) * quant + f16_to_float(scales[2 * scale + 1]);
      }
      return f16_to_float(scales[scale]) * (quant - (type == kQ4_0 ? 8 : 16));
    }
  }
}
