package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.Activations;

/**
 * A float32 matrix on the heap.
 *
 * @param values {@code values[row * columns + column]}
 */
public record CpuActivations(int rows, int columns, float[] values) implements Activations {
  public CpuActivations {
    if (rows < 0 || columns < 0 || (long) rows * columns > values.length) {
      throw new IllegalArgumentException(
          "activations of " + rows + " x " + columns + " do not fit " + values.length + " values");
    }
  }

  /**
   * Allocates a zeroed matrix.
   *
   * @throws IllegalArgumentException when it exceeds one Java array
   */
  static CpuActivations allocate(int rows, int columns) {
    long size = (long) rows * columns;
    if (rows < 0 || columns < 0 || size > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          "activations of "
              + rows
              + " x "
              + columns
              + " exceed one Java array; use smaller prefill chunks");
    }
    return new CpuActivations(rows, columns, new float[(int) size]);
  }

  static CpuActivations of(Activations activations) {
    if (activations instanceof CpuActivations cpu) {
      return cpu;
    }
    throw new IllegalArgumentException(
        "these activations belong to another device: " + activations.getClass().getName());
  }
}
