package dev.kvfreeze.device;

import java.util.Random;

/**
 * A fixed random rotation of a head size: rows of Gaussian numbers made orthonormal (Gram-Schmidt),
 * from a constant seed. Spreads a key's energy over all dimensions, so that one bit of each says as
 * much as of any other. The same on every device, since sketches may be compared.
 */
public final class KeyRotation {
  private static final long SEED = 0x6b766672656e7aL;

  private KeyRotation() {}

  /** Row i, column j. */
  public static double[][] orthonormal(int size) {
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
}
