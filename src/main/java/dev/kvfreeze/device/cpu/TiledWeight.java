package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.Weight;

/**
 * A weight matrix repacked for the product: tiles of {@value #TILE_ROWS} output rows, cut into
 * blocks of {@value #BLOCK_COLUMNS} columns. Within a block the row is the fastest index, so that a
 * vector register holds one column of neighbouring rows and no horizontal sums are needed. The last
 * tile is padded with rows of zeros.
 *
 * <p><b>Order of summation.</b> A dot product is the sum of two chains: the first half of the
 * blocks (the larger one) and the rest, each added up column by column with fused multiply-adds
 * over the dequantised float32 values. Every kernel keeps this order, so a row's result is the same
 * to the bit alone, in a batch, in prefill, on any number of threads, with vectors or without. Two
 * chains, because one alone would wait for the adder's latency when a single row is multiplied.
 *
 * <p>Blocks are stored in the order in which those two chains consume them together: block 0, the
 * first of the second half, block 1, ... so that a product reads memory strictly forwards.
 */
abstract sealed class TiledWeight implements Weight
    permits QuantizedWeight, SixteenBitWeight, FloatWeight {
  static final int TILE_ROWS = 32;
  static final int BLOCK_COLUMNS = 32;

  /** Values of one block of one tile. */
  static final int BLOCK_VALUES = TILE_ROWS * BLOCK_COLUMNS;

  private final String name;
  private final int rows;
  private final int columns;

  TiledWeight(String name, int rows, int columns) {
    if (rows < 1 || columns < 1 || columns % BLOCK_COLUMNS != 0) {
      throw new IllegalArgumentException(
          "tensor "
              + name
              + " is "
              + rows
              + " x "
              + columns
              + "; a weight matrix needs rows, and columns in multiples of "
              + BLOCK_COLUMNS);
    }
    this.name = name;
    this.rows = rows;
    this.columns = columns;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public int rows() {
    return rows;
  }

  @Override
  public int columns() {
    return columns;
  }

  int tiles() {
    return (rows + TILE_ROWS - 1) / TILE_ROWS;
  }

  int blocks() {
    return columns / BLOCK_COLUMNS;
  }

  /** Blocks of the first chain; the second has as many or one less. */
  int firstChainBlocks() {
    return (blocks() + 1) / 2;
  }

  /** Where a block lies among the stored blocks of its tile. */
  int storedBlock(int block) {
    int half = firstChainBlocks();
    return block < half ? 2 * block : 2 * (block - half) + 1;
  }

  /** The inverse of {@link #storedBlock} in a row of {@code blocks} blocks. */
  static int blockOf(int stored, int blocks) {
    return stored % 2 == 0 ? stored / 2 : (blocks + 1) / 2 + stored / 2;
  }

  /** Rows of a tile that are the matrix's own. */
  int tileRows(int tile) {
    return Math.min(TILE_ROWS, rows - tile * TILE_ROWS);
  }

  /** Length of the arrays that hold the whole matrix, or a readable refusal. */
  static int arrayLength(String name, long length) {
    if (length > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          "tensor " + name + " needs " + length + " words, more than one Java array holds");
    }
    return (int) length;
  }

  /** One value as float32, by scalar code: {@code row} and {@code column} of the whole matrix. */
  abstract float value(int row, int column);

  /** Copies a row as float32 to {@code out[offset .. offset + columns)}. */
  void readRow(int row, float[] out, int offset) {
    for (int column = 0; column < columns; column++) {
      out[offset + column] = value(row, column);
    }
  }
}
