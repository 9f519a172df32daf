package dev.kvfreeze.device.cpu;

/** What the native kernels may use of the processor; each level has all kernels of those before. */
enum NativeLevel {
  /** No native kernels: another processor or system, or not wanted. */
  NONE,
  /** AVX2 with FMA and F16C (Intel since Haswell, AMD since Zen). */
  AVX2,
  /** AVX-512 with VNNI (Intel since Ice Lake, AMD since Zen 4). */
  AVX512,
  /** Matrix tiles for bfloat16 and 8-bit integers (Intel since Sapphire Rapids). */
  AMX
}
