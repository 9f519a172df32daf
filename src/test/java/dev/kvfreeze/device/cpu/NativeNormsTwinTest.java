package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("native-kernels")
class NativeNormsTwinTest {
  private final Random random = new Random(34);
  private final ScalarElementwiseKernels scalar = new ScalarElementwiseKernels();

  @BeforeEach
  void needsTheNativeKernels() {
    NativeKernelAssumptions.assume();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 64, 80, 96, 576, 577, 1000})
  void normsAsTheScalarKernel(int columns) {
    for (int rows : new int[] {0, 1, 3}) {
      float[] x = gaussian(5 + rows * columns + 9);
      float[] gain = gaussian(columns);
      float[] twin = x.clone();
      for (int row = 0; row < rows; row++) {
        int at = 5 + row * columns;
        scalar.rmsNorm(twin, at, columns, gain, 1e-5f, twin, at);
      }
      float[] apart = gaussian(x.length);
      float[] before = apart.clone();
      NativeNorms.norm(x, 5, rows, columns, gain, 1e-5f, apart, 3);
      NativeNorms.norm(x, 5, rows, columns, gain, 1e-5f, x, 5);
      assertClose(x, twin);
      for (int i = 0; i < apart.length; i++) {
        boolean written = i >= 3 && i < 3 + rows * columns;
        assertThat(apart[i]).isEqualTo(written ? x[i + 2] : before[i]);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 16, 17, 33, 96, 576, 1001})
  void addsAndNormsAsTheScalarKernels(int columns) {
    for (boolean gained : new boolean[] {false, true}) {
      int rows = 3;
      float[] residual = gaussian(7 + rows * columns + 4);
      float[] addend = gaussian(residual.length);
      float[] normed = gaussian(residual.length);
      float[] addendGain = gained ? gaussian(columns) : null;
      float[] gain = gaussian(columns);
      float[][] twins = {residual.clone(), addend.clone(), normed.clone()};
      for (int at = 7; at < 7 + rows * columns; at += columns) {
        if (gained) {
          scalar.rmsNorm(twins[1], at, columns, addendGain, 1e-6f, twins[1], at);
        }
        scalar.add(twins[0], at, twins[1], at, columns);
        scalar.rmsNorm(twins[0], at, columns, gain, 1e-6f, twins[2], at);
      }
      NativeNorms.addNorm(residual, addend, addendGain, 7, rows, columns, gain, 1e-6f, normed);
      assertClose(residual, twins[0]);
      assertClose(addend, twins[1]);
      assertClose(normed, twins[2]);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 7, 16, 17, 100, 4096})
  void sumsExponentialsOfLogits(int count) {
    float[] x = gaussian(3 + count + 2);
    for (int i = 0; i < count; i++) {
      x[3 + i] *= 20;
    }
    x[3 + count / 2] = Float.NEGATIVE_INFINITY;
    x[3] = 70;
    double sum = 0;
    double moment = 0;
    for (int i = 3; i < 3 + count; i++) {
      double below = Math.min(87.0, 70.0 - x[i]);
      double share = below == 87 ? 0 : Math.exp(-below);
      sum += share;
      moment += share * below;
    }
    float[] sums = new float[2];
    NativeNorms.moments(x, 3, count, 70, sums);
    assertThat((double) sums[0]).isCloseTo(sum, within(1e-5 * sum));
    assertThat((double) sums[1]).isCloseTo(moment, within(1e-5 * (sum + moment)));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 15, 16, 17, 33, 500, 1024})
  void theMaximumIsTheLargestNumberOrNotANumber(int count) {
    float[] x = gaussian(count + 7);
    float wanted = Float.NEGATIVE_INFINITY;
    for (int i = 3; i < 3 + count; i++) {
      wanted = Math.max(wanted, x[i]);
    }
    assertThat(NativeNorms.maximum(x, 3, count)).isEqualTo(wanted);
    for (int i = 3; i < 3 + count; i += 13) {
      float kept = x[i];
      x[i] = 9;
      assertThat(NativeNorms.maximum(x, 3, count)).isEqualTo(9f);
      x[i] = Float.NaN;
      assertThat(NativeNorms.maximum(x, 3, count)).isNaN();
      x[i] = kept;
    }
    // Neighbours of the range have no part in it.
    x[2] = x[3 + count] = Float.POSITIVE_INFINITY;
    assertThat(NativeNorms.maximum(x, 3, count)).isEqualTo(wanted);
  }

  /** The bits that Java's vectors change when their loop is compiled. */
  @Test
  void givesTheSameBitsAlways() {
    float[] x = gaussian(576);
    float[] gain = gaussian(576);
    float[] first = new float[576];
    float[] again = new float[576];
    NativeNorms.norm(x, 0, 1, 576, gain, 1e-5f, first, 0);
    for (int i = 0; i < 20_000; i++) {
      NativeNorms.norm(x, 0, 1, 576, gain, 1e-5f, again, 0);
    }
    assertThat(again).containsExactly(first);
  }

  @Test
  void refusesWhatDoesNotFit() {
    float[] x = new float[100];
    float[] gain = new float[50];
    assertThatThrownBy(() -> NativeNorms.norm(x, 1, 2, 50, gain, 0, x, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeNorms.norm(x, 0, 2, 50, gain, 0, new float[99], 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeNorms.norm(x, 0, 1, 51, gain, 0, x, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeNorms.addNorm(x, gain, null, 0, 2, 50, gain, 0, x))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeNorms.maximum(x, 90, 11))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeNorms.moments(x, 90, 11, 0, new float[2]))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeNorms.norm(x, 0, 1, 0, gain, 0, x, 0))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private float[] gaussian(int count) {
    float[] x = new float[count];
    for (int i = 0; i < count; i++) {
      x[i] = (float) random.nextGaussian();
    }
    return x;
  }

  private static void assertClose(float[] found, float[] wanted) {
    for (int i = 0; i < wanted.length; i++) {
      assertThat(found[i]).isCloseTo(wanted[i], within(1e-6f + 2e-6f * Math.abs(wanted[i])));
    }
  }
}
