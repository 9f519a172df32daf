// What the kernels need of the machine: types, conversions, and the instructions that C++ has no
// word for. On the device they are inline PTX for sm_80 and up, so that no CUDA header is needed;
// for the host tests src/test/cuda/host_shim.h supplies the same functions.
#pragma once

typedef unsigned char uint8;
typedef signed char int8;
typedef unsigned short uint16;
typedef unsigned int uint32;
typedef unsigned long long uint64;

/// A bfloat16 or an IEEE half, as bits.
typedef uint16 bf16;
typedef uint16 f16;

constexpr int kWarp = 32;
constexpr uint32 kAllLanes = 0xffffffffu;

#ifdef KVFREEZE_HOST
#include "host_shim.h"
#else

/// Declares `name` as the block's dynamic shared memory.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) uint8 name[]

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

__device__ __forceinline__ float f16_to_float(f16 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

/// Two floats rounded to nearest even; `low` in the low half.
__device__ __forceinline__ uint32 pack_bf16(float low, float high) {
  uint32 packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// Byte permutation, PTX's prmt.
__device__ __forceinline__ uint32 permute_bytes(uint32 a, uint32 b, uint32 selector) {
  return __byte_perm(a, b, selector);
}

template <typename T>
__device__ __forceinline__ T shuffle_xor(T value, int laneMask) {
  return __shfl_xor_sync(kAllLanes, value, laneMask);
}

template <typename T>
__device__ __forceinline__ T shuffle(T value, int lane) {
  return __shfl_sync(kAllLanes, value, lane);
}

/// c += a * b, 16 x 8 x 16, bf16 in, float32 sums.
__device__ __forceinline__ void mma_bf16(float (&c)[4], const uint32 (&a)[4], uint32 b0,
                                         uint32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// c += a * b, 16 x 8 x 32, int8 in, int32 sums.
__device__ __forceinline__ void mma_int8(int (&c)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// c += a * b, 16 x 8 x 16, int8 in, int32 sums.
__device__ __forceinline__ void mma_int8_k16(int (&c)[4], uint32 a0, uint32 a1, uint32 b0) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b0));
}

__device__ __forceinline__ uint32 shared_address(const void* pointer) {
  return static_cast<uint32>(__cvta_generic_to_shared(pointer));
}

/// Four 8 x 8 matrices of 16-bit numbers; lane l gives the 16-byte row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(uint32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same, each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(uint32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Begins a copy of 16 bytes to shared memory; zeros where `valid` is false (nothing is read).
__device__ __forceinline__ void copy_async(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;"); }

/// Waits until at most `kPending` of this thread's groups of copies are under way.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// A load of what is read once: it need not displace what is read again.
__device__ __forceinline__ uint4 load_streaming(const uint4* from) { return __ldcs(from); }
#endif

__device__ __forceinline__ float bf16_to_float(bf16 bits) {
  return __uint_as_float(static_cast<uint32>(bits) << 16);
}

/// The lower and the higher of two packed bfloat16 numbers.
__device__ __forceinline__ float bf16_low(uint32 packed) { return __uint_as_float(packed << 16); }
__device__ __forceinline__ float bf16_high(uint32 packed) {
  return __uint_as_float(packed & 0xffff0000u);
}

__device__ __forceinline__ bf16 float_to_bf16(float value) {
  return static_cast<bf16>(pack_bf16(value, 0.f));
}

/// Splits two floats in leading and remaining bfloat16: together 16 bits of mantissa.
__device__ __forceinline__ void split_bf16(float low, float high, uint32& leading,
                                           uint32& remaining) {
  leading = pack_bf16(low, high);
  remaining = pack_bf16(low - bf16_low(leading), high - bf16_high(leading));
}

__device__ constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }
