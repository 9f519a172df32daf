package dev.kvfreeze.model.tensor;

/**
 * Thirty-two neighbouring values of a quantised row, unpacked: value i is {@code quants[i] *
 * scales[i / 16] + minimum}, quants unsigned. For formats without a minimum it is {@code -zeroPoint
 * * scale}. Block layouts are ggml's (ggml-common.h). Filled again and again by one thread.
 */
public final class QuantBlock {
  /** Values that are unpacked together. */
  public static final int VALUES = 32;

  private static final int SUPER_BLOCKS = 8;

  public final int[] quants = new int[VALUES];

  /** Scale of the first and of the second sixteen values. */
  public final float[] scales = new float[2];

  /** Only of types that have minimums. */
  public float minimum;

  /** The scale as the file's half-precision float, for the types that have it in the block. */
  public int scaleHalf;

  /** The minimum likewise. */
  public int minimumHalf;

  /**
   * Of K types: the scale of the superblock as the file's half, in {@link #scaleHalf}, times this.
   */
  public final int[] scaleCodes = new int[2];

  /** Of Q4_K and Q5_K: the minimum of the superblock, {@link #minimumHalf}, times this. */
  public int minimumCode;

  /** The quant that means zero; 0 for types with minimums. */
  public static int zeroPoint(TensorType type) {
    return switch (type) {
      case Q4_0 -> 8;
      case Q5_0 -> 16;
      case Q6_K -> 32;
      case Q8_0 -> 128;
      default -> 0;
    };
  }

  /**
   * Unpacks values {@code 32 block} to {@code 32 block + 31} of a row.
   *
   * @param row the bytes of the whole row
   */
  public void unpack(TensorType type, byte[] row, int block) {
    int superBlock = block / SUPER_BLOCKS * type.blockBytes();
    int sub = block % SUPER_BLOCKS;
    switch (type) {
      case Q4_0 -> {
        int at = block * type.blockBytes();
        nibbles(row, at + 2);
        halfScale(row, at);
      }
      case Q4_1 -> {
        int at = block * type.blockBytes();
        nibbles(row, at + 4);
        halfScaleAndMinimum(row, at);
      }
      case Q5_0 -> {
        int at = block * type.blockBytes();
        nibbles(row, at + 6);
        fifthBits(row, at + 2);
        halfScale(row, at);
      }
      case Q5_1 -> {
        int at = block * type.blockBytes();
        nibbles(row, at + 8);
        fifthBits(row, at + 4);
        halfScaleAndMinimum(row, at);
      }
      case Q8_0 -> {
        int at = block * type.blockBytes();
        for (int i = 0; i < quants.length; i++) {
          quants[i] = row[at + 2 + i] + 128;
        }
        halfScale(row, at);
      }
      case Q4_K -> {
        superNibbles(row, superBlock + 16, sub);
        sixBitScales(row, superBlock, sub);
      }
      case Q5_K -> {
        superNibbles(row, superBlock + 48, sub);
        for (int i = 0; i < quants.length; i++) {
          quants[i] |= (row[superBlock + 16 + i] >>> sub & 1) << 4;
        }
        sixBitScales(row, superBlock, sub);
      }
      case Q6_K -> sixBits(row, superBlock, sub);
      default -> throw new IllegalArgumentException(type + " has no blocks");
    }
  }

  /** Low halves of 16 bytes are values 0 to 15, high halves 16 to 31. */
  private void nibbles(byte[] row, int at) {
    for (int i = 0; i < 16; i++) {
      quants[i] = row[at + i] & 15;
      quants[i + 16] = row[at + i] >>> 4 & 15;
    }
  }

  /** Bit i of a 32-bit word is bit 4 of value i. */
  private void fifthBits(byte[] row, int at) {
    int bits = half(row, at) | half(row, at + 2) << 16;
    for (int i = 0; i < quants.length; i++) {
      quants[i] |= (bits >>> i & 1) << 4;
    }
  }

  /** Two sub-blocks share 32 bytes: the even one has the low halves, the odd one the high. */
  private void superNibbles(byte[] row, int at, int sub) {
    int base = at + sub / 2 * 32;
    int shift = sub % 2 * 4;
    for (int i = 0; i < quants.length; i++) {
      quants[i] = row[base + i] >>> shift & 15;
    }
  }

  /** Two halves, then 12 bytes with a 6-bit scale and a 6-bit minimum for each sub-block. */
  private void sixBitScales(byte[] row, int at, int sub) {
    int base = at + 4;
    int scale;
    int offset;
    if (sub < 4) {
      scale = row[base + sub] & 63;
      offset = row[base + sub + 4] & 63;
    } else {
      scale = row[base + sub + 4] & 15 | (row[base + sub - 4] & 0xc0) >>> 2;
      offset = row[base + sub + 4] >>> 4 & 15 | (row[base + sub] & 0xc0) >>> 2;
    }
    scaleHalf = half(row, at);
    minimumHalf = half(row, at + 2);
    scaleCodes[0] = scale;
    scaleCodes[1] = scale;
    minimumCode = offset;
    // A half's 11 significant bits times 6: the products are exact.
    scale(HalfPrecision.f16(scaleHalf) * scale);
    minimum = -HalfPrecision.f16(minimumHalf) * offset;
  }

  /** 128 bytes of low nibbles, 64 of bit pairs, 16 signed scales, one half. */
  private void sixBits(byte[] row, int at, int sub) {
    int low = at + sub / 4 * 64 + sub % 2 * 32;
    int high = at + 128 + sub / 4 * 32;
    int shift = sub % 4 / 2 * 4;
    int pair = sub % 4 * 2;
    for (int i = 0; i < quants.length; i++) {
      quants[i] = row[low + i] >>> shift & 15 | (row[high + i] >>> pair & 3) << 4;
    }
    scaleHalf = half(row, at + 208);
    scaleCodes[0] = row[at + 192 + 2 * sub];
    scaleCodes[1] = row[at + 192 + 2 * sub + 1];
    scales[0] = HalfPrecision.f16(scaleHalf) * scaleCodes[0];
    scales[1] = HalfPrecision.f16(scaleHalf) * scaleCodes[1];
  }

  private void halfScale(byte[] row, int at) {
    scaleHalf = half(row, at);
    scale(HalfPrecision.f16(scaleHalf));
  }

  private void halfScaleAndMinimum(byte[] row, int at) {
    halfScale(row, at);
    minimumHalf = half(row, at + 2);
    minimum = HalfPrecision.f16(minimumHalf);
  }

  private void scale(float scale) {
    scales[0] = scale;
    scales[1] = scale;
  }

  private static int half(byte[] row, int at) {
    return row[at] & 0xff | (row[at + 1] & 0xff) << 8;
  }
}
