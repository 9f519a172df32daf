// CUDA's device language for g++: see README.md. Included by src/main/cuda/platform.cuh, whose
// device-side functions have their twins here.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "fibers.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__ __restrict
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) uint8* name = kvhost::dynamicShared

struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#define threadIdx (kvhost::current->threadIndex)
#define blockIdx (kvhost::blockIndex)
#define blockDim (kvhost::blockSize)
#define gridDim (kvhost::gridSize)

template <typename To, typename From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}
inline float __int_as_float(int bits) { return bits_as<float>(bits); }
inline float __uint_as_float(unsigned bits) { return bits_as<float>(bits); }
inline int __float_as_int(float value) { return bits_as<int>(value); }
inline unsigned __float_as_uint(float value) { return bits_as<unsigned>(value); }
inline float infinity() { return INFINITY; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __expf(float x) { return std::exp(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
template <typename T>
inline T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
inline T max(T a, T b) {
  return a < b ? b : a;
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
using std::isnan;

inline void __syncthreads() { kvhost::meet_block(); }
inline void __syncwarp() { kvhost::meet_warp(nullptr, nullptr, 0); }
inline int __syncthreads_or(int predicate) { return kvhost::meet_block_or(predicate); }

inline int atomicAdd(int* to, int value) {
  int old = *to;
  *to += value;
  return old;
}

inline uint4 load_streaming(const uint4* from) { return *from; }

inline float f16_to_float(f16 bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 0x3ff;
  float magnitude = exponent == 0    ? std::ldexp(float(fraction), -24)
                    : exponent == 31 ? (fraction ? NAN : INFINITY)
                                     : std::ldexp(float(fraction + 1024), exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

inline uint32 host_bf16(float value) {
  const uint32 bits = __float_as_uint(value);
  if (value != value) return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline uint32 pack_bf16(float low, float high) { return host_bf16(low) | host_bf16(high) << 16; }

inline uint32 permute_bytes(uint32 a, uint32 b, uint32 selector) {
  const uint64 bytes = uint64(b) << 32 | a;
  uint32 result = 0;
  for (int i = 0; i < 4; i++) {
    result |= uint32(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  }
  return result;
}

template <typename T>
inline T shuffle(T value, int lane) {
  static_assert(sizeof(T) <= 8, "at most a register pair");
  const uint8* slot =
      kvhost::meet_warp(nullptr, &value, sizeof(T)) + kvhost::kSlotBytes * (lane & 31);
  T result;
  std::memcpy(&result, slot, sizeof(T));
  return result;
}
template <typename T>
inline T shuffle_xor(T value, int laneMask) {
  return shuffle(value, kvhost::lane() ^ laneMask);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  const uint8* slots = kvhost::meet_warp(nullptr, &predicate, sizeof(int));
  unsigned votes = 0;
  for (int i = 0; i < 32; i++) {
    int vote;
    std::memcpy(&vote, slots + kvhost::kSlotBytes * i, sizeof(int));
    votes |= (vote != 0 ? 1u : 0u) << i;
  }
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

namespace kvhost {
/// Operands and sums of one lane of a matrix instruction.
template <typename T>
struct MatrixLane {
  T c[4];
  uint32 a[4];
  uint32 b[2];
};

/// The matrix instruction of a whole warp; Unpack(word, i) is the i-th number of a register.
template <typename T, int kDepth, int kPerWord, T (*Unpack)(uint32, int)>
void multiply_matrices(uint8* slots) {
  static T a[16][kDepth], b[8][kDepth];
  constexpr int kHalf = 4 * kPerWord;
  MatrixLane<T>* lanes[32];
  for (int l = 0; l < 32; l++) {
    lanes[l] = reinterpret_cast<MatrixLane<T>*>(slots + kSlotBytes * l);
    const int g = l / 4, t = l % 4;
    for (int half = 0; half < kDepth / kHalf; half++) {
      for (int i = 0; i < kPerWord; i++) {
        const int k = half * kHalf + t * kPerWord + i;
        a[g][k] = Unpack(lanes[l]->a[2 * half], i);
        a[g + 8][k] = Unpack(lanes[l]->a[2 * half + 1], i);
        b[g][k] = Unpack(lanes[l]->b[half], i);
      }
    }
  }
  for (int l = 0; l < 32; l++) {
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; i++) {
      const T* row = a[g + i / 2 * 8];
      const T* column = b[2 * t + i % 2];
      T sum = 0;
      for (int k = 0; k < kDepth; k++) sum += row[k] * column[k];
      lanes[l]->c[i] += sum;
    }
  }
}
inline int unpack_int8(uint32 word, int i) { return static_cast<int8>(word >> 8 * i); }
inline float unpack_bf16(uint32 word, int i) { return __uint_as_float(word >> 16 * i << 16); }

template <typename T>
void meet_matrix(Combine combine, T (&c)[4], const uint32* a, int aCount, uint32 b0, uint32 b1) {
  MatrixLane<T> own = {};
  std::memcpy(own.c, c, sizeof(own.c));
  std::memcpy(own.a, a, sizeof(uint32) * aCount);
  own.b[0] = b0;
  own.b[1] = b1;
  const uint8* slots = meet_warp(combine, &own, sizeof(own));
  std::memcpy(c, slots + kSlotBytes * lane(), sizeof(own.c));
}

template <bool kTransposed>
void exchange_rows(uint8* slots) {
  uint16 matrices[4][8][8];
  for (int l = 0; l < 32; l++) {
    const void* row;
    std::memcpy(&row, slots + kSlotBytes * l, sizeof(row));
    std::memcpy(matrices[l / 8][l % 8], row, 16);
  }
  for (int l = 0; l < 32; l++) {
    const int g = l / 4, t = l % 4;
    uint32 r[4];
    for (int m = 0; m < 4; m++) {
      r[m] = kTransposed ? matrices[m][2 * t][g] | uint32(matrices[m][2 * t + 1][g]) << 16
                         : matrices[m][g][2 * t] | uint32(matrices[m][g][2 * t + 1]) << 16;
    }
    std::memcpy(slots + kSlotBytes * l, r, sizeof(r));
  }
}
}  // namespace kvhost

inline void mma_bf16(float (&c)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
  kvhost::meet_matrix(kvhost::multiply_matrices<float, 16, 2, kvhost::unpack_bf16>, c, a, 4, b0,
                      b1);
}
inline void mma_int8(int (&c)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
  kvhost::meet_matrix(kvhost::multiply_matrices<int, 32, 4, kvhost::unpack_int8>, c, a, 4, b0, b1);
}
inline void mma_int8_k16(int (&c)[4], uint32 a0, uint32 a1, uint32 b0) {
  const uint32 a[2] = {a0, a1};
  kvhost::meet_matrix(kvhost::multiply_matrices<int, 16, 4, kvhost::unpack_int8>, c, a, 2, b0, 0);
}

inline void load_matrices(uint32 (&r)[4], const void* row) {
  const uint8* slots = kvhost::meet_warp(kvhost::exchange_rows<false>, &row, sizeof(row));
  std::memcpy(r, slots + kvhost::kSlotBytes * kvhost::lane(), sizeof(r));
}
inline void load_matrices_transposed(uint32 (&r)[4], const void* row) {
  const uint8* slots = kvhost::meet_warp(kvhost::exchange_rows<true>, &row, sizeof(row));
  std::memcpy(r, slots + kvhost::kSlotBytes * kvhost::lane(), sizeof(r));
}

inline void copy_async(void* to, const void* from, bool valid) {
  kvhost::begin_copy(to, valid ? from : nullptr);
}
inline void commit_copies() { kvhost::commit_copies(); }
template <int kPending>
void wait_copies() {
  kvhost::wait_copies(kPending);
}
