package dev.kvfreeze.device;

/** How keys and values are kept in pages. */
public enum KvFormat {
  /** bfloat16, rounded to nearest even: two values a 32-bit word. */
  BF16(2),
  /** float32: one value a word. */
  F32(4);

  private final int bytesPerValue;

  KvFormat(int bytesPerValue) {
    this.bytesPerValue = bytesPerValue;
  }

  public int bytesPerValue() {
    return bytesPerValue;
  }

  public int valuesPerWord() {
    return 4 / bytesPerValue;
  }
}
