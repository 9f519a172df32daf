package dev.kvfreeze.model.tensor;

/** The two 16-bit floating formats of model files, widened exactly. */
public final class HalfPrecision {
  private static final int F16_EXPONENT = 0x7c00;
  private static final float F16_SUBNORMAL = 0x1p-24f;

  private HalfPrecision() {}

  /** IEEE 754 binary16, subnormals included. */
  public static float f16(int bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = bits & F16_EXPONENT;
    int fraction = bits & 0x3ff;
    if (exponent == 0) {
      float magnitude = fraction * F16_SUBNORMAL;
      return sign == 0 ? magnitude : -magnitude;
    }
    if (exponent == F16_EXPONENT) {
      return Float.intBitsToFloat(sign | 0x7f80_0000 | fraction << 13);
    }
    // 112 is the difference of the two exponents' biases, 127 and 15.
    return Float.intBitsToFloat(sign | (exponent + (112 << 10)) << 13 | fraction << 13);
  }

  /** bfloat16: the upper half of a binary32. */
  public static float bf16(int bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  static boolean finiteF16(int bits) {
    return (bits & F16_EXPONENT) != F16_EXPONENT;
  }

  static boolean finiteBf16(int bits) {
    return (bits & 0x7f80) != 0x7f80;
  }
}
