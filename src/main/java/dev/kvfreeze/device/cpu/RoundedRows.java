package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;

/**
 * Rows of activations rounded to 8 bits, block by block of {@value TiledWeight#BLOCK_COLUMNS}
 * columns with a scale of its own (the rounding of llama.cpp's Q8_1): a value is about {@code quant
 * * scale}, quants from -127 to 127, and {@code sums} holds each block's sum of quants times its
 * scale, for weights with a minimum. Blocks lie in {@link TiledWeight#storedBlock} order.
 *
 * <p>Quants lie in pairs, one word for the two columns that a word of 4-bit weights multiplies in
 * its halves at once: {@code pairs[block * 16 + w * 4 + i]} holds column {@code 8 w + i} low and
 * column {@code 8 w + 4 + i} high. For 8-bit weights {@code bytePairs[block * 16 + w * 2 + i]}
 * holds column {@code 4 w + i} low and column {@code 4 w + 2 + i} high.
 */
final class RoundedRows {
  /** Words of quants of one block. */
  static final int BLOCK_PAIRS = BLOCK_COLUMNS / 2;

  private static final float LIMIT = 127;

  int[] pairs = {};
  int[] bytePairs = {};
  float[] scales = {};
  float[] sums = {};

  /** As long as {@link #sums}: for weights without a minimum. */
  float[] noSums = {};

  private int blocks;

  /** Makes room for {@code rows} rows of {@code columns} columns. */
  void reset(int rows, int columns) {
    blocks = columns / BLOCK_COLUMNS;
    int needed = Math.multiplyExact(rows, blocks);
    if (scales.length < needed) {
      pairs = new int[needed * BLOCK_PAIRS];
      bytePairs = new int[needed * BLOCK_PAIRS];
      noSums = new float[needed];
      scales = new float[needed];
      sums = new float[needed];
    }
  }

  int blocks() {
    return blocks;
  }

  /** Where the scales and sums of a row begin; its pairs begin {@link #BLOCK_PAIRS} times there. */
  int rowAt(int row) {
    return row * blocks;
  }

  /** What a quant stands for in a block whose largest magnitude is given. */
  static float scale(float largest) {
    return largest / LIMIT;
  }

  /** By what a block is multiplied to be rounded; 0 for a block of zeros. */
  static float inverseScale(float largest) {
    // Below this a quotient would overflow; such a block is zeros for every purpose.
    return largest < Float.MIN_NORMAL ? 0 : LIMIT / largest;
  }

  /** Packs one block's quants, in the low 16 bits of 32 words in order of columns. */
  void pack(int row, int stored, int[] quants, float scale) {
    int at = rowAt(row) + stored;
    int sum = 0;
    for (int word = 0; word < BLOCK_COLUMNS / 8; word++) {
      for (int i = 0; i < 4; i++) {
        int low = quants[8 * word + i];
        int high = quants[8 * word + 4 + i];
        pairs[at * BLOCK_PAIRS + 4 * word + i] = low & 0xffff | high << 16;
        sum += (short) low + (short) high;
      }
    }
    for (int word = 0; word < BLOCK_COLUMNS / 4; word++) {
      for (int i = 0; i < 2; i++) {
        bytePairs[at * BLOCK_PAIRS + 2 * word + i] =
            quants[4 * word + i] & 0xffff | quants[4 * word + 2 + i] << 16;
      }
    }
    scales[at] = scale;
    sums[at] = sum * scale;
  }

  /** The quant of a column of a stored block. */
  int quant(int row, int stored, int inBlock) {
    int pair = pairs[(rowAt(row) + stored) * BLOCK_PAIRS + inBlock / 8 * 4 + inBlock % 4];
    return inBlock % 8 < 4 ? (short) pair : pair >> 16;
  }
}
