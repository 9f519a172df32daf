package dev.kvfreeze.device;

/** How keys and values are kept in pages. */
public enum KvFormat {
  /** bfloat16, rounded to nearest even: two values a 32-bit word. */
  BF16(2, 0),
  /** float32: one value a word. */
  F32(4, 0),
  /**
   * Whole numbers of 8 bits: four values a word, and two words of bfloat16 scales a key and a
   * value, one scale for each quarter of the words. About 0.56 of bf16's bytes with heads of 64,
   * 0.53 with heads of 128. Keys are smoothed before, see {@link KeySmoothing}.
   */
  INT8(1, 2);

  private final int bytesPerValue;
  private final int scaleWords;

  KvFormat(int bytesPerValue, int scaleWords) {
    this.bytesPerValue = bytesPerValue;
    this.scaleWords = scaleWords;
  }

  /** Bytes of a value, scales apart. */
  public int bytesPerValue() {
    return bytesPerValue;
  }

  public int valuesPerWord() {
    return 4 / bytesPerValue;
  }

  /** Words of scales of one token's key, and of its value. */
  public int scaleWords() {
    return scaleWords;
  }

  /** Bytes of a value in the cache that sizes are compared with: 16 bits, or more where kept so. */
  public int comparedBytesPerValue() {
    return Math.max(BF16.bytesPerValue, bytesPerValue);
  }
}
