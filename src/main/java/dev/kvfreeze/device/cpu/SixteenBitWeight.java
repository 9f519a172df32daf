package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.tensor.HalfPrecision;

/**
 * BF16 or F16 values as the file has them. {@code words[(stored block * 16 + w) * 32 + row]} holds
 * columns {@code 2 w} (low half) and {@code 2 w + 1} (high half) of a row.
 */
final class SixteenBitWeight extends TiledWeight {
  /** Words of one block of one tile. */
  static final int BLOCK_WORDS = BLOCK_VALUES / 2;

  /** Which 16-bit float. */
  enum Format {
    BF16,
    F16
  }

  final int[] words;
  final Format format;

  SixteenBitWeight(String name, int rows, int columns, Format format) {
    super(name, rows, columns);
    this.format = format;
    this.words = new int[arrayLength(name, (long) tiles() * blocks() * BLOCK_WORDS)];
  }

  /** Where a stored block begins. */
  int blockAt(int tile, int stored) {
    return (tile * blocks() + stored) * BLOCK_WORDS;
  }

  @Override
  public long residentBytes() {
    return 4L * words.length;
  }

  @Override
  float value(int row, int column) {
    int inBlock = column % BLOCK_COLUMNS;
    int at = blockAt(row / TILE_ROWS, storedBlock(column / BLOCK_COLUMNS));
    int word = words[at + inBlock / 2 * TILE_ROWS + row % TILE_ROWS];
    int half = word >>> 16 * (inBlock % 2);
    return format == Format.BF16 ? Float.intBitsToFloat(half << 16) : HalfPrecision.f16(half);
  }
}
