package dev.kvfreeze.device.cpu;

/**
 * How the scales of a quantised block are stored. A value is {@code quant * scale + minimum} with
 * an unsigned quant; formats without a minimum have {@code minimum = -zeroPoint * scale}, which is
 * exact.
 */
enum ScaleKind {
  /** Two half-precision floats a row, as the file has them: scale low, minimum high. */
  HALF_PAIR(32),
  /** One half-precision float a row; a word holds row i low and row i + 16 high. */
  HALF(16),
  /** Two float32 a row: 32 scales, then 32 minimums. */
  FLOAT_PAIR(64),
  /** One float32 a row and group of 16 columns: 32 scales of each group. */
  FLOAT_TWO_GROUPS(64);

  private final int wordsPerBlock;

  ScaleKind(int wordsPerBlock) {
    this.wordsPerBlock = wordsPerBlock;
  }

  /** Words of one block of one tile. */
  int wordsPerBlock() {
    return wordsPerBlock;
  }

  /** Groups of columns of a block that have a scale of their own. */
  int groups() {
    return this == FLOAT_TWO_GROUPS ? 2 : 1;
  }
}
