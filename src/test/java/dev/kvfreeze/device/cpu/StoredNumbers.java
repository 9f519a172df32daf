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
            case INT8 -> scale(x, i, headSize) * number(x, i, headSize);
          };
    }
    return stored;
  }

  static float rounded(float x) {
    return Bfloat16.low(Bfloat16.bits(x));
  }

  /** The scale of an element: that of the dimensions whose words are in its word's group. */
  static float scale(float[] x, int at, int headSize) {
    int head = at / headSize * headSize;
    float largest = 0;
    for (int i = head; i < head + headSize; i++) {
      if (group(i - head, headSize) == group(at - head, headSize)) {
        largest = Math.max(largest, Math.abs(x[i]));
      }
    }
    return rounded(largest / 127);
  }

  static int group(int dimension, int headSize) {
    int words = headSize / 4;
    return 4 * (dimension % words) / words;
  }

  static int number(float[] x, int at, int headSize) {
    float scale = scale(x, at, headSize);
    float inverse = scale < Float.MIN_NORMAL ? 0 : 1 / scale;
    return Math.max(-127, Math.min(127, (int) Math.rint(x[at] * inverse)));
  }
}
