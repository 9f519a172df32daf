package dev.kvfreeze.model.tensor;

import java.nio.ByteBuffer;

/**
 * ggml's k-quants: super-blocks of 256 values whose sub-blocks have small integer scales, which
 * half-precision factors multiply.
 */
final class SuperBlocks {
  private static final int SUB_BLOCKS = 8;
  private static final int SUB_VALUES = 32;

  private SuperBlocks() {}

  /** Factor, factor of the minimums, 12 bytes of scales and minimums, nibbles. */
  static void q4k(ByteBuffer bytes, int at, float[] out, int to) {
    for (int sub = 0; sub < SUB_BLOCKS; sub++) {
      float scale = scale(bytes, at, sub);
      float minimum = minimum(bytes, at, sub);
      for (int i = 0; i < SUB_VALUES; i++) {
        out[to + sub * SUB_VALUES + i] = scale * nibble(bytes, at + 16, sub, i) - minimum;
      }
    }
  }

  /** As Q4_K with 32 bytes of fifth bits before the nibbles: bit s of byte i is sub-block s's. */
  static void q5k(ByteBuffer bytes, int at, float[] out, int to) {
    for (int sub = 0; sub < SUB_BLOCKS; sub++) {
      float scale = scale(bytes, at, sub);
      float minimum = minimum(bytes, at, sub);
      for (int i = 0; i < SUB_VALUES; i++) {
        int fifth = bytes.get(at + 16 + i) >> sub & 1;
        int quant = nibble(bytes, at + 48, sub, i) | fifth << 4;
        out[to + sub * SUB_VALUES + i] = scale * quant - minimum;
      }
    }
  }

  /** Low nibbles, upper bit pairs, a signed scale for each 16 values, factor; zero is 32. */
  static void q6k(ByteBuffer bytes, int at, float[] out, int to) {
    float factor = HalfPrecision.f16(bytes.getShort(at + 208));
    for (int sub = 0; sub < SUB_BLOCKS; sub++) {
      // Within each half of 128 values, four sub-blocks share 64 nibble bytes and 32 pair bytes.
      int low = at + sub / 4 * 64 + sub % 2 * SUB_VALUES;
      int upper = at + 128 + sub / 4 * SUB_VALUES;
      for (int i = 0; i < SUB_VALUES; i++) {
        int nibble = bytes.get(low + i) >> (sub % 4 / 2 * 4) & 15;
        int pair = bytes.get(upper + i) >> (sub % 4 * 2) & 3;
        float scale = factor * bytes.get(at + 192 + 2 * sub + i / 16);
        out[to + sub * SUB_VALUES + i] = scale * ((nibble | pair << 4) - 32);
      }
    }
  }

  /** Two sub-blocks share 32 bytes: the even one has the low halves, the odd one the high. */
  private static int nibble(ByteBuffer bytes, int at, int sub, int i) {
    return bytes.get(at + sub / 2 * SUB_VALUES + i) >> (sub % 2 * 4) & 15;
  }

  /** Sub-blocks 0 to 3 have their 6 bits in one byte, 4 to 7 their upper two in those bytes. */
  private static float scale(ByteBuffer bytes, int at, int sub) {
    int bits =
        sub < 4
            ? bytes.get(at + 4 + sub) & 63
            : bytes.get(at + 8 + sub) & 15 | (bytes.get(at + sub) >> 6 & 3) << 4;
    return HalfPrecision.f16(bytes.getShort(at)) * bits;
  }

  private static float minimum(ByteBuffer bytes, int at, int sub) {
    int bits =
        sub < 4
            ? bytes.get(at + 8 + sub) & 63
            : bytes.get(at + 8 + sub) >> 4 & 15 | (bytes.get(at + 4 + sub) >> 6 & 3) << 4;
    return HalfPrecision.f16(bytes.getShort(at + 2)) * bits;
  }
}
