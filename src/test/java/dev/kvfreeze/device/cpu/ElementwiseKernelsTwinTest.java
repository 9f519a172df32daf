package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.model.GateActivation;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ElementwiseKernelsTwinTest {
  private static final int[] SIZES = {1, 7, 15, 16, 17, 31, 32, 33, 54, 97, 576, 1536};

  private final ElementwiseKernels scalar = new ScalarElementwiseKernels();
  private final ElementwiseKernels vector = new VectorElementwiseKernels();
  private final Random random = new Random(11);

  @Test
  void rmsNorm() {
    for (int n : SIZES) {
      float[] x = gaussian(n + 3, 30);
      float[] gain = gaussian(n, 1);
      float[] expected = new float[n + 5];
      float[] actual = new float[n + 5];
      scalar.rmsNorm(x, 3, n, gain, 1e-5f, expected, 2);
      vector.rmsNorm(x, 3, n, gain, 1e-5f, actual, 2);
      assertClose(actual, expected, 1e-6);
      vector.rmsNorm(x, 3, n, gain, 1e-5f, x, 3);
      assertClose(Arrays.copyOfRange(x, 3, 3 + n), Arrays.copyOfRange(actual, 2, 2 + n), 0);
      float[] zeros = new float[n];
      vector.rmsNorm(zeros, 0, n, gain, 1e-5f, zeros, 0);
      // A negative gain makes a negative zero.
      assertClose(zeros, new float[n], 0);
    }
  }

  @Test
  void addAndScale() {
    for (int n : SIZES) {
      float[] x = gaussian(n + 2, 1);
      float[] y = gaussian(n + 1, 1);
      float[] twin = x.clone();
      scalar.add(x, 2, y, 1, n);
      vector.add(twin, 2, y, 1, n);
      scalar.scale(x, 1, n, 33.9f);
      vector.scale(twin, 1, n, 33.9f);
      assertThat(twin).containsExactly(x);
    }
  }

  @ParameterizedTest
  @EnumSource(GateActivation.class)
  void gate(GateActivation activation) {
    for (int n : SIZES) {
      for (float magnitude : new float[] {1e-3f, 1, 20, 1e6f}) {
        float[] gate = gaussian(n + 1, magnitude);
        float[] up = gaussian(n + 2, 1);
        float[] twin = gate.clone();
        scalar.gate(activation, gate, 1, up, 2, n);
        vector.gate(activation, twin, 1, up, 2, n);
        assertClose(twin, gate, 1e-6);
      }
    }
  }

  @Test
  void gateAgainstTheFormula() {
    float[] gate = {-3f, -0.5f, 0f, 0.5f, 3f};
    float[] gelu = gate.clone();
    float[] ones = {1, 1, 1, 1, 1};
    float[] silu = gate.clone();
    scalar.gate(GateActivation.SILU, silu, 0, ones, 0, 5);
    scalar.gate(GateActivation.GELU_TANH, gelu, 0, ones, 0, 5);
    for (int i = 0; i < 5; i++) {
      double x = gate[i];
      double tanh = Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x));
      assertThat((double) silu[i]).isCloseTo(x / (1 + Math.exp(-x)), within(1e-6));
      assertThat((double) gelu[i]).isCloseTo(0.5 * x * (1 + tanh), within(1e-6));
    }
  }

  @Test
  void rotations() {
    for (int pairs : new int[] {1, 7, 8, 16, 17, 32, 40, 64, 128}) {
      float[] cosines = gaussian(pairs + 4, 1);
      float[] sines = gaussian(pairs + 4, 1);
      float[] x = gaussian(2 * pairs + 3, 1);
      float[] twin = x.clone();
      scalar.rotateHalves(x, 3, cosines, sines, 4, pairs);
      vector.rotateHalves(twin, 3, cosines, sines, 4, pairs);
      assertClose(twin, x, 1e-6);
      scalar.rotateNeighbours(x, 3, cosines, sines, 4, pairs);
      vector.rotateNeighbours(twin, 3, cosines, sines, 4, pairs);
      assertClose(twin, x, 1e-5);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 97, 4095, 4096, 4097, 49152, 262144})
  void logitStatistics(int n) {
    for (float magnitude : new float[] {0, 0.01f, 3, 40}) {
      float[] logits = gaussian(n + 5, magnitude);
      compareStatistics(logits, 5, n);
      for (int i = 0; i < n; i += 3) {
        logits[5 + i] = Float.NEGATIVE_INFINITY;
      }
      logits[5 + n - 1] = 1;
      compareStatistics(logits, 5, n);
    }
  }

  @Test
  void argmaxIsTheFirst() {
    float[] logits = new float[50000];
    logits[49999] = 5;
    logits[20001] = 5;
    logits[20000] = 5;
    assertThat(vector.logitStatistics(logits, 0, 50000).argmax()).isEqualTo(20000);
    assertThat(scalar.logitStatistics(logits, 0, 50000).argmax()).isEqualTo(20000);
  }

  @Test
  void entropyOfKnownDistributions() {
    float[] flat = new float[49152];
    LogitStatistics statistics = vector.logitStatistics(flat, 0, flat.length);
    assertThat((double) statistics.entropy()).isCloseTo(Math.log(49152), within(1e-4));
    Arrays.fill(flat, Float.NEGATIVE_INFINITY);
    flat[777] = -3;
    statistics = vector.logitStatistics(flat, 0, flat.length);
    assertThat(statistics).isEqualTo(new LogitStatistics(777, -3f, -3f, 0f));
  }

  @Test
  void nanLogitsGiveNan() {
    float[] logits = gaussian(50000, 1);
    logits[30000] = Float.NaN;
    assertThat(vector.logitStatistics(logits, 0, 50000).entropy()).isNaN();
    assertThat(scalar.logitStatistics(logits, 0, 50000).entropy()).isNaN();
  }

  private void compareStatistics(float[] logits, int offset, int n) {
    LogitStatistics expected = scalar.logitStatistics(logits, offset, n);
    LogitStatistics actual = vector.logitStatistics(logits, offset, n);
    assertThat(actual.argmax()).isEqualTo(expected.argmax());
    assertThat(actual.max()).isEqualTo(expected.max());
    assertThat(actual.logSumExp()).isCloseTo(expected.logSumExp(), within(2e-5f));
    assertThat(actual.entropy()).isCloseTo(expected.entropy(), within(2e-4f));
  }

  private static void assertClose(float[] actual, float[] expected, double tolerance) {
    for (int i = 0; i < expected.length; i++) {
      assertThat((double) actual[i])
          .as("element %d of %d", i, expected.length)
          .isCloseTo(expected[i], within(tolerance * (1 + Math.abs(expected[i]))));
    }
  }

  private float[] gaussian(int n, float magnitude) {
    float[] x = new float[n];
    for (int i = 0; i < n; i++) {
      x[i] = magnitude * (float) random.nextGaussian();
    }
    return x;
  }
}
