package dev.kvfreeze.device.cpu;

import java.util.Locale;

/** What the native kernels may use of the processor; each level has all kernels of those before. */
enum NativeLevel {
  /** No native kernels: another processor or system, or not wanted. */
  NONE,
  /** AVX2 with FMA and F16C (Intel since Haswell, AMD since Zen). */
  AVX2,
  /** AVX-512 with VNNI (Intel since Ice Lake, AMD since Zen 4). */
  AVX512,
  /** AVX-512 with products of bfloat16 numbers (AMD since Zen 4, Intel since Sapphire Rapids). */
  BF16,
  /** Matrix tiles for bfloat16 and 8-bit integers (Intel since Sapphire Rapids). */
  AMX;

  /**
   * System property naming the highest level to use: {@code avx2}, {@code avx512}, {@code bf16},
   * {@code amx}.
   */
  static final String PROPERTY = "kvfreeze.nativeLevel";

  /**
   * The level that {@value #PROPERTY} names, the highest without it.
   *
   * @throws IllegalArgumentException for an unknown value
   */
  static NativeLevel wanted() {
    String name = System.getProperty(PROPERTY, "amx");
    return switch (name.toLowerCase(Locale.ROOT)) {
      case "avx2" -> AVX2;
      case "avx512" -> AVX512;
      case "bf16" -> BF16;
      case "amx" -> AMX;
      default ->
          throw new IllegalArgumentException(
              PROPERTY + " is avx2, avx512, bf16 or amx, found \"" + name + "\"");
    };
  }

  /** This level without what it rounds beyond the levels below: their float32 attention. */
  NativeLevel inFloat32() {
    return compareTo(AVX512) > 0 ? AVX512 : this;
  }
}
