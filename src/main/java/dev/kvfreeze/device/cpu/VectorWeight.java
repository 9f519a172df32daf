package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.Weight;

/** A norm's gain or a bias as float32: a weight of one row. */
record VectorWeight(String name, float[] values) implements Weight {
  @Override
  public int rows() {
    return 1;
  }

  @Override
  public int columns() {
    return values.length;
  }

  @Override
  public long residentBytes() {
    return 4L * values.length;
  }
}
