package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KvFormat;

/** What pages make of numbers, the plain way. */
final class StoredNumbers {
  private StoredNumbers() {}

  /** All heads' keys or values of some tokens, as pages of a format hold them. */
  static float[] of(float[] x, int headSize, KvFormat format) {
    float[] stored = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      stored[i] =
          switch (format) {
            case F32 -> x[i];
            case BF16 -> rounded(x[i]);
            case INT8 -> scale(x, i, headSize / 4) * number(x, i, headSize / 4);
          };
    }
    return stored;
  }

  static float rounded(float x) {
    return Bfloat16.low(Bfloat16.bits(x));
  }

  /** The scale of the quarter of a head that an element lies in. */
  static float scale(float[] x, int at, int quarter) {
    float largest = 0;
    for (int i = at / quarter * quarter; i < at / quarter * quarter + quarter; i++) {
      largest = Math.max(largest, Math.abs(x[i]));
    }
    return rounded(largest / 127);
  }

  static int number(float[] x, int at, int quarter) {
    float scale = scale(x, at, quarter);
    float inverse = scale < Float.MIN_NORMAL ? 0 : 1 / scale;
    return Math.max(-127, Math.min(127, (int) Math.rint(x[at] * inverse)));
  }
}
