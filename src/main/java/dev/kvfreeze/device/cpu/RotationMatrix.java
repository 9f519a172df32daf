package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeyRotation;
import java.util.concurrent.ConcurrentHashMap;

/** {@link KeyRotation} in the layout of the kernels' matrix product. */
final class RotationMatrix {
  private static final ConcurrentHashMap<Integer, RotationMatrix> BY_SIZE =
      new ConcurrentHashMap<>();

  private final int size;

  /** Length of a row of {@link #columns} and of the results. */
  private final int stride;

  /** Transposed: {@code columns[j * stride + i]} is row i, column j. */
  private final float[] columns;

  private RotationMatrix(int size) {
    this.size = size;
    this.stride = AttentionKernels.paddedColumns(size);
    this.columns = transposed(KeyRotation.orthonormal(size));
  }

  static RotationMatrix of(int size) {
    return BY_SIZE.computeIfAbsent(size, RotationMatrix::new);
  }

  /** {@code [column][stride]}: the matrix transposed. */
  float[] columns() {
    return columns;
  }

  /** Room of a rotated vector. */
  int stride() {
    return stride;
  }

  /**
   * {@code to[r * stride + i] = sum over j of R[i][j] * x[r * size + j]}; both have room for {@link
   * AttentionKernels#paddedRows} and {@link AttentionKernels#SLACK} more.
   */
  void rotate(AttentionKernels kernels, float[] x, int rows, float[] to) {
    kernels.multiply(
        x, size, columns, 0, stride, to, stride, AttentionKernels.paddedRows(rows), stride, size);
  }

  private float[] transposed(double[][] rows) {
    float[] columns = new float[size * stride + AttentionKernels.SLACK];
    for (int i = 0; i < size; i++) {
      for (int j = 0; j < size; j++) {
        columns[j * stride + i] = (float) rows[i][j];
      }
    }
    return columns;
  }
}
