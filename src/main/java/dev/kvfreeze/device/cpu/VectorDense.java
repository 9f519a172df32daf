package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;
import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_VALUES;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.FMA;

import jdk.incubator.vector.FloatVector;

/** One row of activations times float32 weights. */
final class VectorDense {
  private VectorDense() {}

  /** As {@link VectorNibbles#multiply}, over a tile's stored float32 blocks. */
  static void multiply(
      float[] values, int at, int blocks, float[] x, int xAt, float[] out, int outAt) {
    int pairs = blocks / 2;
    int secondAt = xAt + (blocks - pairs) * BLOCK_COLUMNS;
    FloatVector sumA0 = FloatVector.zero(FLOATS);
    FloatVector sumA1 = FloatVector.zero(FLOATS);
    FloatVector sumB0 = FloatVector.zero(FLOATS);
    FloatVector sumB1 = FloatVector.zero(FLOATS);
    for (int pair = 0; pair < pairs; pair++) {
      int first = at + 2 * pair * BLOCK_VALUES;
      int column = pair * BLOCK_COLUMNS;
      for (int i = 0; i < BLOCK_COLUMNS; i++) {
        int a = first + i * TILE_ROWS;
        int b = a + BLOCK_VALUES;
        FloatVector xA = FloatVector.broadcast(FLOATS, x[xAt + column + i]);
        FloatVector xB = FloatVector.broadcast(FLOATS, x[secondAt + column + i]);
        sumA0 = xA.lanewise(FMA, FloatVector.fromArray(FLOATS, values, a), sumA0);
        sumA1 = xA.lanewise(FMA, FloatVector.fromArray(FLOATS, values, a + LANES), sumA1);
        sumB0 = xB.lanewise(FMA, FloatVector.fromArray(FLOATS, values, b), sumB0);
        sumB1 = xB.lanewise(FMA, FloatVector.fromArray(FLOATS, values, b + LANES), sumB1);
      }
    }
    if (blocks % 2 != 0) {
      int last = at + (blocks - 1) * BLOCK_VALUES;
      int column = pairs * BLOCK_COLUMNS;
      for (int i = 0; i < BLOCK_COLUMNS; i++) {
        int a = last + i * TILE_ROWS;
        FloatVector xA = FloatVector.broadcast(FLOATS, x[xAt + column + i]);
        sumA0 = xA.lanewise(FMA, FloatVector.fromArray(FLOATS, values, a), sumA0);
        sumA1 = xA.lanewise(FMA, FloatVector.fromArray(FLOATS, values, a + LANES), sumA1);
      }
    }
    sumA0.lanewise(ADD, sumB0).intoArray(out, outAt);
    sumA1.lanewise(ADD, sumB1).intoArray(out, outAt + LANES);
  }
}
