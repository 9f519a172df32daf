package dev.kvfreeze.device.cpu;

import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A fixed random rotation of a head size: rows of Gaussian numbers made orthonormal (Gram-Schmidt),
 * from a constant seed. Spreads a key's energy over all dimensions, so that one bit of each says as
 * much as of any other.
 */
final class RotationMatrix {
  private static final long SEED = 0x6b766672656e7aL;
  private static final ConcurrentHashMap<Integer, RotationMatrix> BY_SIZE =
      new ConcurrentHashMap<>();

  private final int size;

  /** Length of a row of {@link #columns} and of the results. */
  private final int stride;

  /** Transposed: {@code columns[j * stride + i]} is row i, column j. */
  private final float[] columns;

  private RotationMatrix(int size) {
    this.size = size;
    int unit = AttentionKernels.PRODUCT_COLUMNS;
    this.stride = (size + unit - 1) / unit * unit;
    this.columns = transposed(orthonormal(size));
  }

  static RotationMatrix of(int size) {
    return BY_SIZE.computeIfAbsent(size, RotationMatrix::new);
  }

  /** Room of a rotated vector. */
  int stride() {
    return stride;
  }

  /** Rows that {@link #rotate} works on for so many vectors. */
  static int paddedRows(int rows) {
    int unit = AttentionKernels.PRODUCT_ROWS;
    return (rows + unit - 1) / unit * unit;
  }

  /**
   * {@code to[r * stride + i] = sum over j of R[i][j] * x[r * size + j]}; both have room for {@link
   * #paddedRows} and {@link AttentionKernels#SLACK} more.
   */
  void rotate(AttentionKernels kernels, float[] x, int rows, float[] to) {
    kernels.multiply(x, size, columns, 0, stride, to, stride, paddedRows(rows), stride, size);
  }

  private static double[][] orthonormal(int size) {
    Random random = new Random(SEED + size);
    double[][] rows = new double[size][size];
    for (int i = 0; i < size; i++) {
      for (int j = 0; j < size; j++) {
        rows[i][j] = random.nextGaussian();
      }
      // Twice: once leaves rounding errors that grow with the number of rows.
      for (int pass = 0; pass < 2; pass++) {
        for (int k = 0; k < i; k++) {
          subtract(rows[i], rows[k], dot(rows[i], rows[k]));
        }
      }
      double norm = Math.sqrt(dot(rows[i], rows[i]));
      for (int j = 0; j < size; j++) {
        rows[i][j] /= norm;
      }
    }
    return rows;
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  private static void subtract(double[] a, double[] b, double factor) {
    for (int i = 0; i < a.length; i++) {
      a[i] -= factor * b[i];
    }
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
