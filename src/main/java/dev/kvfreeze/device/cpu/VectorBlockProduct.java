package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.FLOATS;
import static dev.kvfreeze.device.cpu.VectorMath.LANES;
import static jdk.incubator.vector.VectorOperators.FMA;

import jdk.incubator.vector.FloatVector;

/**
 * The two products of prefill attention, in register blocks of 8 rows by 2 registers. Taller or
 * wider blocks were slower on JDK 17 or 25.
 */
final class VectorBlockProduct {
  private VectorBlockProduct() {}

  /** See {@link AttentionKernels#multiply}. */
  static void multiply(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth) {
    for (int column = 0; column < columns; column += 2 * LANES) {
      for (int row = 0; row < rows; row += 8) {
        store8(
            a,
            row * aStride,
            aStride,
            b,
            bOffset + column,
            bStride,
            c,
            row * cStride + column,
            cStride,
            depth);
      }
    }
  }

  /** See {@link AttentionKernels#multiplyAdd}. */
  static void multiplyAdd(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth) {
    for (int column = 0; column < columns; column += 2 * LANES) {
      for (int row = 0; row < rows; row += 8) {
        add8(
            a,
            row * aStride,
            aStride,
            b,
            bOffset + column,
            bStride,
            c,
            row * cStride + column,
            cStride,
            depth);
      }
    }
  }

  private static void store8(
      float[] a,
      int aAt,
      int aStride,
      float[] b,
      int bAt,
      int bStride,
      float[] c,
      int cAt,
      int cStride,
      int depth) {
    FloatVector x0 = FloatVector.zero(FLOATS);
    FloatVector y0 = FloatVector.zero(FLOATS);
    FloatVector x1 = FloatVector.zero(FLOATS);
    FloatVector y1 = FloatVector.zero(FLOATS);
    FloatVector x2 = FloatVector.zero(FLOATS);
    FloatVector y2 = FloatVector.zero(FLOATS);
    FloatVector x3 = FloatVector.zero(FLOATS);
    FloatVector y3 = FloatVector.zero(FLOATS);
    FloatVector x4 = FloatVector.zero(FLOATS);
    FloatVector y4 = FloatVector.zero(FLOATS);
    FloatVector x5 = FloatVector.zero(FLOATS);
    FloatVector y5 = FloatVector.zero(FLOATS);
    FloatVector x6 = FloatVector.zero(FLOATS);
    FloatVector y6 = FloatVector.zero(FLOATS);
    FloatVector x7 = FloatVector.zero(FLOATS);
    FloatVector y7 = FloatVector.zero(FLOATS);
    for (int k = 0; k < depth; k++) {
      int row = bAt + k * bStride;
      FloatVector b0 = FloatVector.fromArray(FLOATS, b, row);
      FloatVector b1 = FloatVector.fromArray(FLOATS, b, row + LANES);
      FloatVector a0 = FloatVector.broadcast(FLOATS, a[aAt + k]);
      x0 = b0.lanewise(FMA, a0, x0);
      y0 = b1.lanewise(FMA, a0, y0);
      FloatVector a1 = FloatVector.broadcast(FLOATS, a[aAt + aStride + k]);
      x1 = b0.lanewise(FMA, a1, x1);
      y1 = b1.lanewise(FMA, a1, y1);
      FloatVector a2 = FloatVector.broadcast(FLOATS, a[aAt + 2 * aStride + k]);
      x2 = b0.lanewise(FMA, a2, x2);
      y2 = b1.lanewise(FMA, a2, y2);
      FloatVector a3 = FloatVector.broadcast(FLOATS, a[aAt + 3 * aStride + k]);
      x3 = b0.lanewise(FMA, a3, x3);
      y3 = b1.lanewise(FMA, a3, y3);
      FloatVector a4 = FloatVector.broadcast(FLOATS, a[aAt + 4 * aStride + k]);
      x4 = b0.lanewise(FMA, a4, x4);
      y4 = b1.lanewise(FMA, a4, y4);
      FloatVector a5 = FloatVector.broadcast(FLOATS, a[aAt + 5 * aStride + k]);
      x5 = b0.lanewise(FMA, a5, x5);
      y5 = b1.lanewise(FMA, a5, y5);
      FloatVector a6 = FloatVector.broadcast(FLOATS, a[aAt + 6 * aStride + k]);
      x6 = b0.lanewise(FMA, a6, x6);
      y6 = b1.lanewise(FMA, a6, y6);
      FloatVector a7 = FloatVector.broadcast(FLOATS, a[aAt + 7 * aStride + k]);
      x7 = b0.lanewise(FMA, a7, x7);
      y7 = b1.lanewise(FMA, a7, y7);
    }
    x0.intoArray(c, cAt);
    y0.intoArray(c, cAt + LANES);
    x1.intoArray(c, cAt + cStride);
    y1.intoArray(c, cAt + cStride + LANES);
    x2.intoArray(c, cAt + 2 * cStride);
    y2.intoArray(c, cAt + 2 * cStride + LANES);
    x3.intoArray(c, cAt + 3 * cStride);
    y3.intoArray(c, cAt + 3 * cStride + LANES);
    x4.intoArray(c, cAt + 4 * cStride);
    y4.intoArray(c, cAt + 4 * cStride + LANES);
    x5.intoArray(c, cAt + 5 * cStride);
    y5.intoArray(c, cAt + 5 * cStride + LANES);
    x6.intoArray(c, cAt + 6 * cStride);
    y6.intoArray(c, cAt + 6 * cStride + LANES);
    x7.intoArray(c, cAt + 7 * cStride);
    y7.intoArray(c, cAt + 7 * cStride + LANES);
  }

  private static void add8(
      float[] a,
      int aAt,
      int aStride,
      float[] b,
      int bAt,
      int bStride,
      float[] c,
      int cAt,
      int cStride,
      int depth) {
    FloatVector x0 = FloatVector.fromArray(FLOATS, c, cAt);
    FloatVector y0 = FloatVector.fromArray(FLOATS, c, cAt + LANES);
    FloatVector x1 = FloatVector.fromArray(FLOATS, c, cAt + cStride);
    FloatVector y1 = FloatVector.fromArray(FLOATS, c, cAt + cStride + LANES);
    FloatVector x2 = FloatVector.fromArray(FLOATS, c, cAt + 2 * cStride);
    FloatVector y2 = FloatVector.fromArray(FLOATS, c, cAt + 2 * cStride + LANES);
    FloatVector x3 = FloatVector.fromArray(FLOATS, c, cAt + 3 * cStride);
    FloatVector y3 = FloatVector.fromArray(FLOATS, c, cAt + 3 * cStride + LANES);
    FloatVector x4 = FloatVector.fromArray(FLOATS, c, cAt + 4 * cStride);
    FloatVector y4 = FloatVector.fromArray(FLOATS, c, cAt + 4 * cStride + LANES);
    FloatVector x5 = FloatVector.fromArray(FLOATS, c, cAt + 5 * cStride);
    FloatVector y5 = FloatVector.fromArray(FLOATS, c, cAt + 5 * cStride + LANES);
    FloatVector x6 = FloatVector.fromArray(FLOATS, c, cAt + 6 * cStride);
    FloatVector y6 = FloatVector.fromArray(FLOATS, c, cAt + 6 * cStride + LANES);
    FloatVector x7 = FloatVector.fromArray(FLOATS, c, cAt + 7 * cStride);
    FloatVector y7 = FloatVector.fromArray(FLOATS, c, cAt + 7 * cStride + LANES);
    for (int k = 0; k < depth; k++) {
      int row = bAt + k * bStride;
      FloatVector b0 = FloatVector.fromArray(FLOATS, b, row);
      FloatVector b1 = FloatVector.fromArray(FLOATS, b, row + LANES);
      FloatVector a0 = FloatVector.broadcast(FLOATS, a[aAt + k]);
      x0 = b0.lanewise(FMA, a0, x0);
      y0 = b1.lanewise(FMA, a0, y0);
      FloatVector a1 = FloatVector.broadcast(FLOATS, a[aAt + aStride + k]);
      x1 = b0.lanewise(FMA, a1, x1);
      y1 = b1.lanewise(FMA, a1, y1);
      FloatVector a2 = FloatVector.broadcast(FLOATS, a[aAt + 2 * aStride + k]);
      x2 = b0.lanewise(FMA, a2, x2);
      y2 = b1.lanewise(FMA, a2, y2);
      FloatVector a3 = FloatVector.broadcast(FLOATS, a[aAt + 3 * aStride + k]);
      x3 = b0.lanewise(FMA, a3, x3);
      y3 = b1.lanewise(FMA, a3, y3);
      FloatVector a4 = FloatVector.broadcast(FLOATS, a[aAt + 4 * aStride + k]);
      x4 = b0.lanewise(FMA, a4, x4);
      y4 = b1.lanewise(FMA, a4, y4);
      FloatVector a5 = FloatVector.broadcast(FLOATS, a[aAt + 5 * aStride + k]);
      x5 = b0.lanewise(FMA, a5, x5);
      y5 = b1.lanewise(FMA, a5, y5);
      FloatVector a6 = FloatVector.broadcast(FLOATS, a[aAt + 6 * aStride + k]);
      x6 = b0.lanewise(FMA, a6, x6);
      y6 = b1.lanewise(FMA, a6, y6);
      FloatVector a7 = FloatVector.broadcast(FLOATS, a[aAt + 7 * aStride + k]);
      x7 = b0.lanewise(FMA, a7, x7);
      y7 = b1.lanewise(FMA, a7, y7);
    }
    x0.intoArray(c, cAt);
    y0.intoArray(c, cAt + LANES);
    x1.intoArray(c, cAt + cStride);
    y1.intoArray(c, cAt + cStride + LANES);
    x2.intoArray(c, cAt + 2 * cStride);
    y2.intoArray(c, cAt + 2 * cStride + LANES);
    x3.intoArray(c, cAt + 3 * cStride);
    y3.intoArray(c, cAt + 3 * cStride + LANES);
    x4.intoArray(c, cAt + 4 * cStride);
    y4.intoArray(c, cAt + 4 * cStride + LANES);
    x5.intoArray(c, cAt + 5 * cStride);
    y5.intoArray(c, cAt + 5 * cStride + LANES);
    x6.intoArray(c, cAt + 6 * cStride);
    y6.intoArray(c, cAt + 6 * cStride + LANES);
    x7.intoArray(c, cAt + 7 * cStride);
    y7.intoArray(c, cAt + 7 * cStride + LANES);
  }
}
