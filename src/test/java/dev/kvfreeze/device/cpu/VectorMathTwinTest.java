package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Test;

class VectorMathTwinTest {
  private static final int LANES = VectorMath.LANES;

  @Test
  void exponentialIsAccurate() {
    for (float x = -86.9f; x < 86.9f; x += 0.0137f) {
      double expected = Math.exp(x);
      assertThat((double) vectorExp(x)).isCloseTo(expected, within(3e-7 * expected));
      assertThat(VectorMath.exp(x)).isEqualTo(vectorExp(x));
    }
  }

  @Test
  void exponentialHoldsAtTheEnds() {
    assertThat(vectorExp(0f)).isEqualTo(1f);
    assertThat(vectorExp(-0f)).isEqualTo(1f);
    assertThat(vectorExp(1e30f)).isFinite().isGreaterThan(1e37f);
    assertThat(vectorExp(-1e30f)).isBetween(0f, 1e-37f);
    assertThat(vectorExp(Float.POSITIVE_INFINITY)).isFinite();
    assertThat(vectorExp(Float.NEGATIVE_INFINITY)).isBetween(0f, 1e-37f);
  }

  @Test
  void negativeExponentialIsAccurateAndEndsAtZero() {
    for (float y = 0; y < 100; y += 0.0093f) {
      double expected = Math.exp(-y);
      assertThat((double) vectorExpNegative(y))
          .isCloseTo(expected, within(3e-7 * expected + 1e-37));
      assertThat(VectorMath.expNegative(y)).isEqualTo(vectorExpNegative(y));
    }
    assertThat(vectorExpNegative(0f)).isEqualTo(1f);
    assertThat(vectorExpNegative(Float.POSITIVE_INFINITY)).isZero();
    assertThat(vectorExpNegative(1e9f)).isZero();
  }

  private static float vectorExp(float x) {
    return VectorMath.exp(FloatVector.broadcast(VectorMath.FLOATS, x)).lane(LANES - 1);
  }

  private static float vectorExpNegative(float y) {
    return VectorMath.expNegative(FloatVector.broadcast(VectorMath.FLOATS, y)).lane(0);
  }
}
