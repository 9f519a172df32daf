package dev.kvfreeze.device.cpu;

/** Float32 values: {@code values[(stored block * 32 + column) * 32 + row]}. */
final class FloatWeight extends TiledWeight {
  final float[] values;

  FloatWeight(String name, int rows, int columns) {
    super(name, rows, columns);
    this.values = new float[arrayLength(name, (long) tiles() * blocks() * BLOCK_VALUES)];
  }

  /** Where a stored block begins. */
  int blockAt(int tile, int stored) {
    return (tile * blocks() + stored) * BLOCK_VALUES;
  }

  @Override
  public long residentBytes() {
    return 4L * values.length;
  }

  @Override
  float value(int row, int column) {
    int at = blockAt(row / TILE_ROWS, storedBlock(column / BLOCK_COLUMNS));
    return values[at + column % BLOCK_COLUMNS * TILE_ROWS + row % TILE_ROWS];
  }
}
