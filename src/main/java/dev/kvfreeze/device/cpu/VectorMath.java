package dev.kvfreeze.device.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Exponentials by vector, with the polynomial of the Cephes library's {@code expf} (relative error
 * about 1e-7), and the one vector width of the attention and elementwise kernels.
 *
 * <p>Written as C2 inlines it: {@code lanewise} throughout, constants by {@code broadcast}; other
 * forms left vectors boxed in some runs.
 */
final class VectorMath {
  static final VectorSpecies<Float> FLOATS = Vectors.FLOATS;
  static final VectorSpecies<Integer> INTS = Vectors.INTS;
  static final int LANES = FLOATS.length();

  /** Beyond this magnitude the exponential is not computed but held. */
  static final float LIMIT = 87f;

  private static final int LIMIT_BITS = Float.floatToRawIntBits(LIMIT);
  private static final float LOG2_E = 1.44269504088896341f;
  private static final float LN2_HIGH = 0.693359375f;
  private static final float LN2_LOW = -2.12194440e-4f;
  // Adding it leaves the nearest integer in the low bits.
  private static final float ROUNDER = 12582912f;
  private static final float C0 = 1.9875691500e-4f;
  private static final float C1 = 1.3981999507e-3f;
  private static final float C2 = 8.3334519073e-3f;
  private static final float C3 = 4.1665795894e-2f;
  private static final float C4 = 1.6666665459e-1f;
  private static final float C5 = 5.0000001201e-1f;

  /** What the polynomial gives at the lower limit; taken off, so that -infinity gives 0. */
  private static final float AT_LIMIT = expHeld(-LIMIT);

  private VectorMath() {}

  /** exp(x), with x held to plus and minus {@link #LIMIT}. */
  static FloatVector exp(FloatVector x) {
    IntVector bits = x.reinterpretAsInts();
    IntVector magnitude =
        IntVector.broadcast(INTS, LIMIT_BITS)
            .lanewise(
                VectorOperators.MIN,
                IntVector.broadcast(INTS, 0x7fffffff).lanewise(VectorOperators.AND, bits));
    IntVector held =
        IntVector.broadcast(INTS, 0x80000000)
            .lanewise(VectorOperators.AND, bits)
            .lanewise(VectorOperators.OR, magnitude);
    return expHeld(held.reinterpretAsFloats());
  }

  /** exp(-y) for {@code y >= 0}: exactly 0 from {@link #LIMIT} on. */
  static FloatVector expNegative(FloatVector y) {
    return expHeld(FloatVector.zero(FLOATS).lanewise(VectorOperators.SUB, held(y)))
        .lanewise(VectorOperators.SUB, FloatVector.broadcast(FLOATS, AT_LIMIT));
  }

  /**
   * {@code y >= 0} held to {@link #LIMIT}: as integers, the bits of positive floats are ordered.
   */
  static FloatVector held(FloatVector y) {
    return IntVector.broadcast(INTS, LIMIT_BITS)
        .lanewise(VectorOperators.MIN, y.reinterpretAsInts())
        .reinterpretAsFloats();
  }

  private static FloatVector expHeld(FloatVector x) {
    FloatVector rounder = FloatVector.broadcast(FLOATS, ROUNDER);
    FloatVector shifted =
        FloatVector.broadcast(FLOATS, LOG2_E).lanewise(VectorOperators.FMA, x, rounder);
    FloatVector n = shifted.lanewise(VectorOperators.SUB, rounder);
    FloatVector r = n.lanewise(VectorOperators.FMA, FloatVector.broadcast(FLOATS, -LN2_HIGH), x);
    r = n.lanewise(VectorOperators.FMA, FloatVector.broadcast(FLOATS, -LN2_LOW), r);
    FloatVector one = FloatVector.broadcast(FLOATS, 1f);
    FloatVector p =
        FloatVector.broadcast(FLOATS, C0)
            .lanewise(VectorOperators.FMA, r, FloatVector.broadcast(FLOATS, C1));
    p = p.lanewise(VectorOperators.FMA, r, FloatVector.broadcast(FLOATS, C2));
    p = p.lanewise(VectorOperators.FMA, r, FloatVector.broadcast(FLOATS, C3));
    p = p.lanewise(VectorOperators.FMA, r, FloatVector.broadcast(FLOATS, C4));
    p = p.lanewise(VectorOperators.FMA, r, FloatVector.broadcast(FLOATS, C5));
    p = p.lanewise(VectorOperators.FMA, r, one);
    p = p.lanewise(VectorOperators.FMA, r, one);
    IntVector exponent = shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
    return exponent.lanewise(VectorOperators.ADD, p.reinterpretAsInts()).reinterpretAsFloats();
  }

  /** The same to the bit for one value. */
  static float exp(float x) {
    return expHeld(Math.copySign(held(Math.abs(x)), x));
  }

  /** The same to the bit for one value. */
  static float expNegative(float y) {
    return expHeld(-held(y)) - AT_LIMIT;
  }

  /** The same for one value. */
  static float held(float y) {
    return Float.intBitsToFloat(Math.min(Float.floatToRawIntBits(y), LIMIT_BITS));
  }

  private static float expHeld(float x) {
    float shifted = Math.fma(LOG2_E, x, ROUNDER);
    float n = shifted - ROUNDER;
    float r = Math.fma(n, -LN2_LOW, Math.fma(n, -LN2_HIGH, x));
    float p = Math.fma(C0, r, C1);
    p = Math.fma(p, r, C2);
    p = Math.fma(p, r, C3);
    p = Math.fma(p, r, C4);
    p = Math.fma(p, r, C5);
    p = Math.fma(p, r, 1f);
    p = Math.fma(p, r, 1f);
    int exponent = Float.floatToRawIntBits(shifted) << 23;
    return Float.intBitsToFloat(exponent + Float.floatToRawIntBits(p));
  }
}
