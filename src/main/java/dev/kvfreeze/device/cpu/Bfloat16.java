package dev.kvfreeze.device.cpu;

/** bfloat16: the upper half of a float32. */
final class Bfloat16 {
  private static final int QUIET_NAN = 0x7fc0;

  private Bfloat16() {}

  /** The 16 bits of the nearest bfloat16, ties to even; NaN stays NaN. */
  static int bits(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return bits >>> 16 | QUIET_NAN;
    }
    return bits + 0x7fff + (bits >>> 16 & 1) >>> 16;
  }

  /** The value in the low half of a word. */
  static float low(int word) {
    return Float.intBitsToFloat(word << 16);
  }

  /** The value in the high half of a word. */
  static float high(int word) {
    return Float.intBitsToFloat(word & 0xffff0000);
  }
}
