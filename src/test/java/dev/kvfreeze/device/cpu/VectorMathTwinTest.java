package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class VectorMathTwinTest {
  private static final int LANES = VectorMath.LANES;

  @Test
  void exponentialIsAccurate() {
    for (float x = -86.9f; x < 86.9f; x += 0.0137f) {
      double expected = Math.exp(x);
      assertThat((double) VectorMath.exp(x)).isCloseTo(expected, within(3e-7 * expected));
      // exp(x) as the gate computes it: silu(-x) / -x = 1 / (1 + exp(x)).
      assertThat(vectorSilu(-x)).isEqualTo(-x / (1 + VectorMath.exp(x)));
    }
  }

  @Test
  void exponentialHoldsAtTheEnds() {
    assertThat(VectorMath.exp(0f)).isEqualTo(1f);
    assertThat(VectorMath.exp(-0f)).isEqualTo(1f);
    assertThat(VectorMath.exp(1e30f)).isFinite().isGreaterThan(1e37f);
    assertThat(VectorMath.exp(-1e30f)).isBetween(0f, 1e-37f);
    assertThat(VectorMath.exp(Float.POSITIVE_INFINITY)).isFinite();
    assertThat(VectorMath.exp(Float.NEGATIVE_INFINITY)).isBetween(0f, 1e-37f);
    assertThat(vectorSilu(-1e30f)).isBetween(-1e-6f, 0f);
    assertThat(vectorSilu(1e30f)).isEqualTo(1e30f);
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

  @Test
  void momentsAreThoseOfSingleValues() {
    float[] x = new float[3 * LANES];
    for (int i = 0; i < x.length; i++) {
      x[i] = -0.37f * i;
    }
    float[] sums = new float[2];
    VectorExponentials.moments(x, 0, x.length, 0.5f, sums);
    double sum = 0;
    double moment = 0;
    for (float value : x) {
      sum += Math.exp(value - 0.5);
      moment += (0.5 - value) * Math.exp(value - 0.5);
    }
    assertThat((double) sums[0]).isCloseTo(sum, within(1e-6 * sum));
    assertThat((double) sums[1]).isCloseTo(moment, within(1e-6 * moment));
  }

  private static float vectorSilu(float x) {
    float[] gate = new float[LANES];
    float[] up = new float[LANES];
    Arrays.fill(gate, x);
    Arrays.fill(up, 1f);
    VectorGates.silu(gate, 0, up, 0, LANES);
    return gate[LANES - 1];
  }

  private static float vectorExpNegative(float y) {
    float[] x = new float[LANES];
    Arrays.fill(x, -y);
    float sum = VectorExponentials.ofDifferences(x, 0, LANES, 0f);
    assertThat(sum).isCloseTo(LANES * x[0], within(1e-5f * x[0]));
    return x[0];
  }
}
