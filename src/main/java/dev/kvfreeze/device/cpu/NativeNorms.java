package dev.kvfreeze.device.cpu;

import java.util.Objects;

/**
 * Norms of rows and sums of exponentials in C. Their sums have one order, where those of the Vector
 * API change in the last bit when Java compiles a kernel: with them a document's text does not
 * depend on when that happens.
 */
final class NativeNorms {
  private NativeNorms() {}

  /** {@link ElementwiseKernels#rmsNorm} of neighbouring rows; {@code out} may be {@code x}. */
  static void norm(
      float[] x,
      int at,
      int rows,
      int columns,
      float[] gain,
      float epsilon,
      float[] out,
      int outAt) {
    checkRows(at, rows, columns, x.length);
    checkRows(outAt, rows, columns, out.length);
    Objects.checkFromIndexSize(0, columns, gain.length);
    norm0(x, at, rows, columns, gain, epsilon, out, outAt);
  }

  /**
   * {@code residual += addend}, normed first where {@code addendGain} is not null, and {@code
   * normed} becomes the sum's norm; rows from {@code at} on, in all three arrays.
   */
  static void addNorm(
      float[] residual,
      float[] addend,
      float[] addendGain,
      int at,
      int rows,
      int columns,
      float[] gain,
      float epsilon,
      float[] normed) {
    checkRows(at, rows, columns, residual.length);
    checkRows(at, rows, columns, addend.length);
    checkRows(at, rows, columns, normed.length);
    Objects.checkFromIndexSize(0, columns, gain.length);
    if (addendGain != null) {
      Objects.checkFromIndexSize(0, columns, addendGain.length);
    }
    addNorm0(residual, addend, addendGain, at, rows, columns, gain, epsilon, normed);
  }

  /** The largest of some numbers; NaN where one is, and -infinity without any. */
  static float maximum(float[] x, int at, int count) {
    Objects.checkFromIndexSize(at, count, x.length);
    return maximum0(x, at, count);
  }

  /** See {@link VectorExponentials#moments}; any count. */
  static void moments(float[] x, int at, int count, float max, float[] sums) {
    Objects.checkFromIndexSize(at, count, x.length);
    Objects.checkFromIndexSize(0, 2, sums.length);
    moments0(x, at, count, max, sums);
  }

  private static void checkRows(int at, int rows, int columns, int length) {
    if (columns < 1) {
      throw new IllegalArgumentException("rows of " + columns + " values");
    }
    Objects.checkFromIndexSize(at, Math.multiplyExact(rows, columns), length);
  }

  private static native void norm0(
      float[] x,
      int at,
      int rows,
      int columns,
      float[] gain,
      float epsilon,
      float[] out,
      int outAt);

  private static native void addNorm0(
      float[] residual,
      float[] addend,
      float[] addendGain,
      int at,
      int rows,
      int columns,
      float[] gain,
      float epsilon,
      float[] normed);

  private static native float maximum0(float[] x, int at, int count);

  private static native void moments0(float[] x, int at, int count, float max, float[] sums);
}
