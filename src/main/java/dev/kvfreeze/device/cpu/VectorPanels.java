package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.FMA;

import jdk.incubator.vector.FloatVector;

/**
 * Register blocks of the product with many rows: 8, 4 or 1 rows of activations times two vectors of
 * weight rows, all sums in registers. 8 x 32 was the fastest shape on 512-bit vectors (8 x 48 and
 * 12 x 32 spill on one JDK or another); 16 registers of 256 bits hold 4 x 16.
 */
final class VectorPanels {
  private VectorPanels() {}

  static void oneRow(
      float[] x, int xAt, float[] panel, int panelAt, int columns, float[] sums, int sumsAt) {
    FloatVector sum0 = FloatVector.fromArray(FLOATS, sums, sumsAt);
    FloatVector sum1 = FloatVector.fromArray(FLOATS, sums, sumsAt + LANES);
    for (int k = 0; k < columns; k++) {
      int p = panelAt + k * TILE_ROWS;
      FloatVector factor = FloatVector.broadcast(FLOATS, x[xAt + k]);
      sum0 = factor.lanewise(FMA, FloatVector.fromArray(FLOATS, panel, p), sum0);
      sum1 = factor.lanewise(FMA, FloatVector.fromArray(FLOATS, panel, p + LANES), sum1);
    }
    sum0.intoArray(sums, sumsAt);
    sum1.intoArray(sums, sumsAt + LANES);
  }

  static void fourRows(
      float[] x,
      int xAt,
      int xStride,
      float[] panel,
      int panelAt,
      int columns,
      float[] sums,
      int sumsAt) {
    int x1 = xAt + xStride;
    int x2 = xAt + 2 * xStride;
    int x3 = xAt + 3 * xStride;
    FloatVector sum00 = FloatVector.fromArray(FLOATS, sums, sumsAt);
    FloatVector sum01 = FloatVector.fromArray(FLOATS, sums, sumsAt + LANES);
    FloatVector sum10 = FloatVector.fromArray(FLOATS, sums, sumsAt + TILE_ROWS);
    FloatVector sum11 = FloatVector.fromArray(FLOATS, sums, sumsAt + TILE_ROWS + LANES);
    FloatVector sum20 = FloatVector.fromArray(FLOATS, sums, sumsAt + 2 * TILE_ROWS);
    FloatVector sum21 = FloatVector.fromArray(FLOATS, sums, sumsAt + 2 * TILE_ROWS + LANES);
    FloatVector sum30 = FloatVector.fromArray(FLOATS, sums, sumsAt + 3 * TILE_ROWS);
    FloatVector sum31 = FloatVector.fromArray(FLOATS, sums, sumsAt + 3 * TILE_ROWS + LANES);
    for (int k = 0; k < columns; k++) {
      int p = panelAt + k * TILE_ROWS;
      FloatVector w0 = FloatVector.fromArray(FLOATS, panel, p);
      FloatVector w1 = FloatVector.fromArray(FLOATS, panel, p + LANES);
      FloatVector f0 = FloatVector.broadcast(FLOATS, x[xAt + k]);
      sum00 = w0.lanewise(FMA, f0, sum00);
      sum01 = w1.lanewise(FMA, f0, sum01);
      FloatVector f1 = FloatVector.broadcast(FLOATS, x[x1 + k]);
      sum10 = w0.lanewise(FMA, f1, sum10);
      sum11 = w1.lanewise(FMA, f1, sum11);
      FloatVector f2 = FloatVector.broadcast(FLOATS, x[x2 + k]);
      sum20 = w0.lanewise(FMA, f2, sum20);
      sum21 = w1.lanewise(FMA, f2, sum21);
      FloatVector f3 = FloatVector.broadcast(FLOATS, x[x3 + k]);
      sum30 = w0.lanewise(FMA, f3, sum30);
      sum31 = w1.lanewise(FMA, f3, sum31);
    }
    sum00.intoArray(sums, sumsAt);
    sum01.intoArray(sums, sumsAt + LANES);
    sum10.intoArray(sums, sumsAt + TILE_ROWS);
    sum11.intoArray(sums, sumsAt + TILE_ROWS + LANES);
    sum20.intoArray(sums, sumsAt + 2 * TILE_ROWS);
    sum21.intoArray(sums, sumsAt + 2 * TILE_ROWS + LANES);
    sum30.intoArray(sums, sumsAt + 3 * TILE_ROWS);
    sum31.intoArray(sums, sumsAt + 3 * TILE_ROWS + LANES);
  }

  static void eightRows(
      float[] x,
      int xAt,
      int xStride,
      float[] panel,
      int panelAt,
      int columns,
      float[] sums,
      int sumsAt) {
    int x1 = xAt + xStride;
    int x2 = xAt + 2 * xStride;
    int x3 = xAt + 3 * xStride;
    int x4 = xAt + 4 * xStride;
    int x5 = xAt + 5 * xStride;
    int x6 = xAt + 6 * xStride;
    int x7 = xAt + 7 * xStride;
    FloatVector sum00 = FloatVector.fromArray(FLOATS, sums, sumsAt);
    FloatVector sum01 = FloatVector.fromArray(FLOATS, sums, sumsAt + LANES);
    FloatVector sum10 = FloatVector.fromArray(FLOATS, sums, sumsAt + TILE_ROWS);
    FloatVector sum11 = FloatVector.fromArray(FLOATS, sums, sumsAt + TILE_ROWS + LANES);
    FloatVector sum20 = FloatVector.fromArray(FLOATS, sums, sumsAt + 2 * TILE_ROWS);
    FloatVector sum21 = FloatVector.fromArray(FLOATS, sums, sumsAt + 2 * TILE_ROWS + LANES);
    FloatVector sum30 = FloatVector.fromArray(FLOATS, sums, sumsAt + 3 * TILE_ROWS);
    FloatVector sum31 = FloatVector.fromArray(FLOATS, sums, sumsAt + 3 * TILE_ROWS + LANES);
    FloatVector sum40 = FloatVector.fromArray(FLOATS, sums, sumsAt + 4 * TILE_ROWS);
    FloatVector sum41 = FloatVector.fromArray(FLOATS, sums, sumsAt + 4 * TILE_ROWS + LANES);
    FloatVector sum50 = FloatVector.fromArray(FLOATS, sums, sumsAt + 5 * TILE_ROWS);
    FloatVector sum51 = FloatVector.fromArray(FLOATS, sums, sumsAt + 5 * TILE_ROWS + LANES);
    FloatVector sum60 = FloatVector.fromArray(FLOATS, sums, sumsAt + 6 * TILE_ROWS);
    FloatVector sum61 = FloatVector.fromArray(FLOATS, sums, sumsAt + 6 * TILE_ROWS + LANES);
    FloatVector sum70 = FloatVector.fromArray(FLOATS, sums, sumsAt + 7 * TILE_ROWS);
    FloatVector sum71 = FloatVector.fromArray(FLOATS, sums, sumsAt + 7 * TILE_ROWS + LANES);
    for (int k = 0; k < columns; k++) {
      int p = panelAt + k * TILE_ROWS;
      FloatVector w0 = FloatVector.fromArray(FLOATS, panel, p);
      FloatVector w1 = FloatVector.fromArray(FLOATS, panel, p + LANES);
      FloatVector f0 = FloatVector.broadcast(FLOATS, x[xAt + k]);
      sum00 = w0.lanewise(FMA, f0, sum00);
      sum01 = w1.lanewise(FMA, f0, sum01);
      FloatVector f1 = FloatVector.broadcast(FLOATS, x[x1 + k]);
      sum10 = w0.lanewise(FMA, f1, sum10);
      sum11 = w1.lanewise(FMA, f1, sum11);
      FloatVector f2 = FloatVector.broadcast(FLOATS, x[x2 + k]);
      sum20 = w0.lanewise(FMA, f2, sum20);
      sum21 = w1.lanewise(FMA, f2, sum21);
      FloatVector f3 = FloatVector.broadcast(FLOATS, x[x3 + k]);
      sum30 = w0.lanewise(FMA, f3, sum30);
      sum31 = w1.lanewise(FMA, f3, sum31);
      FloatVector f4 = FloatVector.broadcast(FLOATS, x[x4 + k]);
      sum40 = w0.lanewise(FMA, f4, sum40);
      sum41 = w1.lanewise(FMA, f4, sum41);
      FloatVector f5 = FloatVector.broadcast(FLOATS, x[x5 + k]);
      sum50 = w0.lanewise(FMA, f5, sum50);
      sum51 = w1.lanewise(FMA, f5, sum51);
      FloatVector f6 = FloatVector.broadcast(FLOATS, x[x6 + k]);
      sum60 = w0.lanewise(FMA, f6, sum60);
      sum61 = w1.lanewise(FMA, f6, sum61);
      FloatVector f7 = FloatVector.broadcast(FLOATS, x[x7 + k]);
      sum70 = w0.lanewise(FMA, f7, sum70);
      sum71 = w1.lanewise(FMA, f7, sum71);
    }
    sum00.intoArray(sums, sumsAt);
    sum01.intoArray(sums, sumsAt + LANES);
    sum10.intoArray(sums, sumsAt + TILE_ROWS);
    sum11.intoArray(sums, sumsAt + TILE_ROWS + LANES);
    sum20.intoArray(sums, sumsAt + 2 * TILE_ROWS);
    sum21.intoArray(sums, sumsAt + 2 * TILE_ROWS + LANES);
    sum30.intoArray(sums, sumsAt + 3 * TILE_ROWS);
    sum31.intoArray(sums, sumsAt + 3 * TILE_ROWS + LANES);
    sum40.intoArray(sums, sumsAt + 4 * TILE_ROWS);
    sum41.intoArray(sums, sumsAt + 4 * TILE_ROWS + LANES);
    sum50.intoArray(sums, sumsAt + 5 * TILE_ROWS);
    sum51.intoArray(sums, sumsAt + 5 * TILE_ROWS + LANES);
    sum60.intoArray(sums, sumsAt + 6 * TILE_ROWS);
    sum61.intoArray(sums, sumsAt + 6 * TILE_ROWS + LANES);
    sum70.intoArray(sums, sumsAt + 7 * TILE_ROWS);
    sum71.intoArray(sums, sumsAt + 7 * TILE_ROWS + LANES);
  }
}
