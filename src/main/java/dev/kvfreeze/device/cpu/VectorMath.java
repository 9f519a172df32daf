package dev.kvfreeze.device.cpu;

import jdk.incubator.vector.VectorSpecies;

/**
 * The exponential with the polynomial of the Cephes library's {@code expf} (relative error about
 * 1e-7): its constants, which {@link VectorGates} and {@link VectorExponentials} write out by
 * vector, and the same to the bit for one value. Also the one vector width of the attention and
 * elementwise kernels.
 */
final class VectorMath {
  static final VectorSpecies<Float> FLOATS = Vectors.FLOATS;
  static final VectorSpecies<Integer> INTS = Vectors.INTS;
  static final int LANES = FLOATS.length();

  /** Beyond this magnitude the exponential is not computed but held. */
  static final float LIMIT = 87f;

  static final int LIMIT_BITS = Float.floatToRawIntBits(LIMIT);
  static final float LOG2_E = 1.44269504088896341f;
  static final float LN2_HIGH = 0.693359375f;
  static final float LN2_LOW = -2.12194440e-4f;
  // Adding it leaves the nearest integer in the low bits.
  static final float ROUNDER = 12582912f;
  static final float C0 = 1.9875691500e-4f;
  static final float C1 = 1.3981999507e-3f;
  static final float C2 = 8.3334519073e-3f;
  static final float C3 = 4.1665795894e-2f;
  static final float C4 = 1.6666665459e-1f;
  static final float C5 = 5.0000001201e-1f;

  /** What the polynomial gives at the lower limit; taken off, so that -infinity gives 0. */
  static final float AT_LIMIT = expHeld(-LIMIT);

  private VectorMath() {}

  /** exp(x), with x held to plus and minus {@link #LIMIT}. */
  static float exp(float x) {
    return expHeld(Math.copySign(held(Math.abs(x)), x));
  }

  /** exp(-y) for {@code y >= 0}: exactly 0 from {@link #LIMIT} on. */
  static float expNegative(float y) {
    return expHeld(-held(y)) - AT_LIMIT;
  }

  /** {@code y >= 0} held to {@link #LIMIT}: the bits of positive floats are ordered. */
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
