package dev.kvfreeze.model.tensor;

import java.nio.ByteBuffer;

/**
 * ggml's formats of 32 values a block: a half-precision scale, in some a half-precision minimum,
 * then the quants. Nibbles: the low halves of 16 bytes are values 0 to 15, the high ones 16 to 31.
 */
final class SmallBlocks {
  private static final int HALF_BLOCK = 16;

  private SmallBlocks() {}

  /** Scale, nibbles; zero is 8. */
  static void q40(ByteBuffer bytes, int at, float[] out, int to) {
    float scale = HalfPrecision.f16(bytes.getShort(at));
    for (int i = 0; i < HALF_BLOCK; i++) {
      int pair = bytes.get(at + 2 + i);
      out[to + i] = ((pair & 15) - 8) * scale;
      out[to + i + HALF_BLOCK] = ((pair >> 4 & 15) - 8) * scale;
    }
  }

  /** Scale, minimum, nibbles. */
  static void q41(ByteBuffer bytes, int at, float[] out, int to) {
    float scale = HalfPrecision.f16(bytes.getShort(at));
    float minimum = HalfPrecision.f16(bytes.getShort(at + 2));
    for (int i = 0; i < HALF_BLOCK; i++) {
      int pair = bytes.get(at + 4 + i);
      out[to + i] = (pair & 15) * scale + minimum;
      out[to + i + HALF_BLOCK] = (pair >> 4 & 15) * scale + minimum;
    }
  }

  /** Scale, 32 fifth bits, nibbles; zero is 16. */
  static void q50(ByteBuffer bytes, int at, float[] out, int to) {
    float scale = HalfPrecision.f16(bytes.getShort(at));
    int fifths = bytes.getInt(at + 2);
    for (int i = 0; i < HALF_BLOCK; i++) {
      int pair = bytes.get(at + 6 + i);
      int low = pair & 15 | (fifths >>> i & 1) << 4;
      int high = pair >> 4 & 15 | (fifths >>> (i + HALF_BLOCK) & 1) << 4;
      out[to + i] = (low - 16) * scale;
      out[to + i + HALF_BLOCK] = (high - 16) * scale;
    }
  }

  /** Scale, minimum, 32 fifth bits, nibbles. */
  static void q51(ByteBuffer bytes, int at, float[] out, int to) {
    float scale = HalfPrecision.f16(bytes.getShort(at));
    float minimum = HalfPrecision.f16(bytes.getShort(at + 2));
    int fifths = bytes.getInt(at + 4);
    for (int i = 0; i < HALF_BLOCK; i++) {
      int pair = bytes.get(at + 8 + i);
      int low = pair & 15 | (fifths >>> i & 1) << 4;
      int high = pair >> 4 & 15 | (fifths >>> (i + HALF_BLOCK) & 1) << 4;
      out[to + i] = low * scale + minimum;
      out[to + i + HALF_BLOCK] = high * scale + minimum;
    }
  }

  /** Scale, signed bytes. */
  static void q80(ByteBuffer bytes, int at, float[] out, int to) {
    float scale = HalfPrecision.f16(bytes.getShort(at));
    for (int i = 0; i < 2 * HALF_BLOCK; i++) {
      out[to + i] = bytes.get(at + 2 + i) * scale;
    }
  }
}
