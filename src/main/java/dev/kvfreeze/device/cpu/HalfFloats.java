package dev.kvfreeze.device.cpu;

/** IEEE 754 binary16, by integer arithmetic that the vector kernels share. */
final class HalfFloats {
  /** Turns the exponent of a shifted half into a float's; subnormal halves come out right too. */
  static final float REBIAS = 0x1p112f;

  /**
   * The bits that remain of a half in the high 16 bits of a word after an arithmetic shift by 3:
   * sign, exponent and mantissa where a float has them. Times {@link #REBIAS} they are the half.
   */
  static final int SHIFTED_HALF = 0x8fff_e000;

  private HalfFloats() {}

  /** The half in the low 16 bits, exactly; infinities and NaN included. */
  static float toFloat(int bits) {
    int magnitude = bits & 0x7fff;
    int sign = (bits & 0x8000) << 16;
    if (magnitude >= 0x7c00) {
      return Float.intBitsToFloat(sign | 0x7f80_0000 | (magnitude & 0x3ff) << 13);
    }
    float value = Float.intBitsToFloat(magnitude << 13) * REBIAS;
    return Float.intBitsToFloat(sign | Float.floatToRawIntBits(value));
  }
}
