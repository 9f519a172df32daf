package dev.kvfreeze.device.cpu;

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
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.DIV;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.MIN;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.OR;
import static jdk.incubator.vector.VectorOperators.SUB;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * The gate activations, over whole registers. The exponential is written out in each loop: a method
 * that takes or returns vectors is boxed by JDK 17 in some runs.
 */
final class VectorGates {
  private static final float GELU_LINEAR = (float) (2 * Math.sqrt(2 / Math.PI));
  private static final float GELU_CUBIC = (float) (2 * Math.sqrt(2 / Math.PI) * 0.044715);

  private VectorGates() {}

  /** {@code gate = gate / (1 + exp(-gate)) * up}. */
  static void silu(float[] gate, int offset, float[] up, int upOffset, int count) {
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
    IntVector magnitude = IntVector.broadcast(INTS, 0x7fffffff);
    IntVector signBit = IntVector.broadcast(INTS, 0x80000000);
    FloatVector zero = FloatVector.zero(FLOATS);
    for (int i = 0; i < count; i += LANES) {
      FloatVector x = FloatVector.fromArray(FLOATS, gate, offset + i);
      FloatVector argument = zero.lanewise(SUB, x);
      IntVector bits = none.lanewise(OR, argument.reinterpretAsInts());
      IntVector held =
          signBit
              .lanewise(AND, bits)
              .lanewise(OR, limit.lanewise(MIN, magnitude.lanewise(AND, bits)));
      FloatVector y = one.lanewise(MUL, held.reinterpretAsFloats());
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
      x.lanewise(MUL, FloatVector.fromArray(FLOATS, up, upOffset + i))
          .lanewise(DIV, one.lanewise(ADD, e.reinterpretAsFloats()))
          .intoArray(gate, offset + i);
    }
  }

  /** GELU by the tanh formula, written with one exponential, times {@code up}. */
  static void gelu(float[] gate, int offset, float[] up, int upOffset, int count) {
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
    IntVector magnitude = IntVector.broadcast(INTS, 0x7fffffff);
    IntVector signBit = IntVector.broadcast(INTS, 0x80000000);
    FloatVector linear = FloatVector.broadcast(FLOATS, -GELU_LINEAR);
    FloatVector cubic = FloatVector.broadcast(FLOATS, -GELU_CUBIC);
    for (int i = 0; i < count; i += LANES) {
      FloatVector x = FloatVector.fromArray(FLOATS, gate, offset + i);
      FloatVector argument = x.lanewise(MUL, x.lanewise(MUL, x).lanewise(FMA, cubic, linear));
      IntVector bits = none.lanewise(OR, argument.reinterpretAsInts());
      IntVector held =
          signBit
              .lanewise(AND, bits)
              .lanewise(OR, limit.lanewise(MIN, magnitude.lanewise(AND, bits)));
      FloatVector y = one.lanewise(MUL, held.reinterpretAsFloats());
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
      x.lanewise(MUL, FloatVector.fromArray(FLOATS, up, upOffset + i))
          .lanewise(DIV, one.lanewise(ADD, e.reinterpretAsFloats()))
          .intoArray(gate, offset + i);
    }
  }
}
