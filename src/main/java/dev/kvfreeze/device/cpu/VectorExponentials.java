package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.AT_LIMIT;
import static dev.kvfreeze.device.cpu.VectorMath.C0;
import static dev.kvfreeze.device.cpu.VectorMath.C1;
import static dev.kvfreeze.device.cpu.VectorMath.C2;
import static dev.kvfreeze.device.cpu.VectorMath.C3;
import static dev.kvfreeze.device.cpu.VectorMath.C4;
import static dev.kvfreeze.device.cpu.VectorMath.C5;
import static dev.kvfreeze.device.cpu.VectorMath.LIMIT_BITS;
import static dev.kvfreeze.device.cpu.VectorMath.LN2_HIGH;
import static dev.kvfreeze.device.cpu.VectorMath.LN2_LOW;
import static dev.kvfreeze.device.cpu.VectorMath.LOG2_E;
import static dev.kvfreeze.device.cpu.VectorMath.ROUNDER;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.MIN;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.OR;
import static jdk.incubator.vector.VectorOperators.SUB;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * Exponentials of a softmax, over whole registers. Written out in each loop, for the reason that
 * {@link VectorGates} names. What a loop carries to its next turn is an argument and never a
 * receiver: where its type is guessed from a profile, JDK 17 boxes it on a busy machine.
 */
final class VectorExponentials {
  private VectorExponentials() {}

  /** {@code x = exp(x - max)}; returns the sum. {@code max} is at least every value. */
  static float ofDifferences(float[] x, int offset, int count, float max) {
    FloatVector sum = FloatVector.zero(FLOATS);
    FloatVector rounder = FloatVector.broadcast(FLOATS, ROUNDER);
    FloatVector log2e = FloatVector.broadcast(FLOATS, LOG2_E);
    FloatVector minusLn2High = FloatVector.broadcast(FLOATS, -LN2_HIGH);
    FloatVector minusLn2Low = FloatVector.broadcast(FLOATS, -LN2_LOW);
    FloatVector c0 = FloatVector.broadcast(FLOATS, C0);
    FloatVector c1 = FloatVector.broadcast(FLOATS, C1);
    FloatVector c2 = FloatVector.broadcast(FLOATS, C2);
    FloatVector c3 = FloatVector.broadcast(FLOATS, C3);
    FloatVector c4 = FloatVector.broadcast(FLOATS, C4);
    FloatVector c5 = FloatVector.broadcast(FLOATS, C5);
    FloatVector one = FloatVector.broadcast(FLOATS, 1f);
    IntVector none = IntVector.zero(INTS);
    IntVector limit = IntVector.broadcast(INTS, LIMIT_BITS);
    FloatVector zero = FloatVector.zero(FLOATS);
    FloatVector atLimit = FloatVector.broadcast(FLOATS, AT_LIMIT);
    FloatVector top = FloatVector.broadcast(FLOATS, max);
    for (int i = 0; i < count; i += LANES) {
      FloatVector below = top.lanewise(SUB, FloatVector.fromArray(FLOATS, x, offset + i));
      IntVector bits = limit.lanewise(MIN, below.reinterpretAsInts());
      FloatVector y = zero.lanewise(SUB, bits.reinterpretAsFloats());
      FloatVector shifted = log2e.lanewise(FMA, y, rounder);
      FloatVector n = shifted.lanewise(SUB, rounder);
      FloatVector r = n.lanewise(FMA, minusLn2High, y);
      r = n.lanewise(FMA, minusLn2Low, r);
      FloatVector p = c0.lanewise(FMA, r, c1);
      p = p.lanewise(FMA, r, c2);
      p = p.lanewise(FMA, r, c3);
      p = p.lanewise(FMA, r, c4);
      p = p.lanewise(FMA, r, c5);
      p = p.lanewise(FMA, r, one);
      p = p.lanewise(FMA, r, one);
      IntVector e =
          none.lanewise(OR, shifted.reinterpretAsInts())
              .lanewise(LSHL, 23)
              .lanewise(ADD, p.reinterpretAsInts());
      FloatVector value = one.lanewise(MUL, e.reinterpretAsFloats()).lanewise(SUB, atLimit);
      value.intoArray(x, offset + i);
      sum = value.lanewise(ADD, sum);
    }
    return zero.lanewise(ADD, sum).reduceLanes(ADD);
  }

  /**
   * {@code sums[0]} becomes the sum of exp(x - max), {@code sums[1]} that of (max - x), held to
   * {@link VectorMath#LIMIT}, times it.
   */
  static void moments(float[] x, int offset, int count, float max, float[] sums) {
    FloatVector sum = FloatVector.zero(FLOATS);
    FloatVector moment = FloatVector.zero(FLOATS);
    FloatVector rounder = FloatVector.broadcast(FLOATS, ROUNDER);
    FloatVector log2e = FloatVector.broadcast(FLOATS, LOG2_E);
    FloatVector minusLn2High = FloatVector.broadcast(FLOATS, -LN2_HIGH);
    FloatVector minusLn2Low = FloatVector.broadcast(FLOATS, -LN2_LOW);
    FloatVector c0 = FloatVector.broadcast(FLOATS, C0);
    FloatVector c1 = FloatVector.broadcast(FLOATS, C1);
    FloatVector c2 = FloatVector.broadcast(FLOATS, C2);
    FloatVector c3 = FloatVector.broadcast(FLOATS, C3);
    FloatVector c4 = FloatVector.broadcast(FLOATS, C4);
    FloatVector c5 = FloatVector.broadcast(FLOATS, C5);
    FloatVector one = FloatVector.broadcast(FLOATS, 1f);
    IntVector none = IntVector.zero(INTS);
    IntVector limit = IntVector.broadcast(INTS, LIMIT_BITS);
    FloatVector zero = FloatVector.zero(FLOATS);
    FloatVector atLimit = FloatVector.broadcast(FLOATS, AT_LIMIT);
    FloatVector top = FloatVector.broadcast(FLOATS, max);
    for (int i = 0; i < count; i += LANES) {
      FloatVector below = top.lanewise(SUB, FloatVector.fromArray(FLOATS, x, offset + i));
      IntVector bits = limit.lanewise(MIN, below.reinterpretAsInts());
      FloatVector y = zero.lanewise(SUB, bits.reinterpretAsFloats());
      FloatVector shifted = log2e.lanewise(FMA, y, rounder);
      FloatVector n = shifted.lanewise(SUB, rounder);
      FloatVector r = n.lanewise(FMA, minusLn2High, y);
      r = n.lanewise(FMA, minusLn2Low, r);
      FloatVector p = c0.lanewise(FMA, r, c1);
      p = p.lanewise(FMA, r, c2);
      p = p.lanewise(FMA, r, c3);
      p = p.lanewise(FMA, r, c4);
      p = p.lanewise(FMA, r, c5);
      p = p.lanewise(FMA, r, one);
      p = p.lanewise(FMA, r, one);
      IntVector e =
          none.lanewise(OR, shifted.reinterpretAsInts())
              .lanewise(LSHL, 23)
              .lanewise(ADD, p.reinterpretAsInts());
      FloatVector value = one.lanewise(MUL, e.reinterpretAsFloats()).lanewise(SUB, atLimit);
      sum = value.lanewise(ADD, sum);
      moment = value.lanewise(FMA, bits.reinterpretAsFloats(), moment);
    }
    sums[0] = zero.lanewise(ADD, sum).reduceLanes(ADD);
    sums[1] = zero.lanewise(ADD, moment).reduceLanes(ADD);
  }
}
