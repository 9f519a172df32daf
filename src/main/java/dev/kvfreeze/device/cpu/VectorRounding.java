package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.MAX;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.OR;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** Rounds a block of activations to 8 bits. */
final class VectorRounding {
  private static final int MAGNITUDE = 0x7fff_ffff;

  /** Adding it leaves the nearest integer, ties to even, in the low 16 bits. */
  private static final float ROUNDER = 12582912f;

  private VectorRounding() {}

  /** The largest magnitude of a block; NaN when there is one. */
  static float largest(float[] x, int at) {
    IntVector magnitude = IntVector.broadcast(INTS, MAGNITUDE);
    IntVector zero = IntVector.zero(INTS);
    IntVector largest = zero;
    for (int i = 0; i < BLOCK_COLUMNS; i += LANES) {
      // As integers, the bits of positive floats are ordered, and NaN comes last.
      largest =
          magnitude
              .lanewise(AND, FloatVector.fromArray(FLOATS, x, at + i).reinterpretAsInts())
              .lanewise(MAX, largest);
    }
    return Float.intBitsToFloat(zero.lanewise(MAX, largest).reduceLanes(MAX));
  }

  /** {@code x / scale} to the nearest integers, each in the low 16 bits of a word. */
  static void quants(float[] x, int at, float inverseScale, int[] quants) {
    FloatVector inverse = FloatVector.broadcast(FLOATS, inverseScale);
    FloatVector rounder = FloatVector.broadcast(FLOATS, ROUNDER);
    IntVector none = IntVector.zero(INTS);
    for (int i = 0; i < BLOCK_COLUMNS; i += LANES) {
      FloatVector rounded =
          FloatVector.fromArray(FLOATS, x, at + i).lanewise(MUL, inverse).lanewise(ADD, rounder);
      none.lanewise(OR, rounded.reinterpretAsInts()).intoArray(quants, i);
    }
  }
}
