package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The vector kernels of attention against their scalar twins, one by one. */
class AttentionKernelsTwinTest {
  private static final int[] SIZES = {1, 7, 15, 16, 17, 31, 32, 33, 54, 97, 128};

  private final AttentionKernels scalar = new ScalarAttentionKernels();
  private final AttentionKernels vector = new VectorAttentionKernels();
  private final Random random = new Random(3);

  @ParameterizedTest
  @CsvSource({"64,16", "64,8", "64,5", "64,1", "80,16", "96,24", "128,40", "256,16", "16,4"})
  void scoresAndWeightedValues(int headSize, int pageTokens) {
    for (KvFormat format : KvFormat.values()) {
      for (int group = 1; group <= 9; group++) {
        AttentionShape shape = new AttentionShape(group, 1, headSize, 1f, 0);
        AttentionCase layer = new AttentionCase(shape, pageTokens, format, group);
        AttentionCase.Sequence s = layer.add(97, 1, AttentionCase.Pages.RAGGED, 1f);
        try (WorkerPool pool = new WorkerPool(1)) {
          layer.write(pool);
        }
        HeadPages pages = s.segment.heads()[0];
        int from = pages.count / 3;
        int tokens = 97 - pages.firstPositions[from];
        int stride = tokens + AttentionKernels.SLACK;
        float[] q = gaussian(group * headSize);
        float[] expected = new float[group * stride + AttentionKernels.SLACK];
        float[] actual = expected.clone();
        scalar.scores(layer.memory, pages, from, pages.count, q, group, expected, stride);
        vector.scores(layer.memory, pages, from, pages.count, q, group, actual, stride);
        for (int g = 0; g < group; g++) {
          assertClose(actual, expected, g * stride, tokens, 2e-5);
        }
        float[] sums = new float[group * headSize + AttentionKernels.SLACK];
        float[] twin = sums.clone();
        float[] panel = new float[group * (headSize + AttentionKernels.SLACK)];
        scalar.weightedValues(
            layer.memory, pages, from, pages.count, expected, group, stride, panel, sums);
        vector.weightedValues(
            layer.memory, pages, from, pages.count, expected, group, stride, panel, twin);
        assertClose(twin, sums, 0, group * headSize, 1e-4);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"64,16", "64,8", "64,5", "64,1", "80,16", "96,24", "128,40", "256,16", "16,4"})
  void packing(int headSize, int pageTokens) {
    for (KvFormat format : KvFormat.values()) {
      AttentionShape shape = new AttentionShape(1, 1, headSize, 1f, 0);
      AttentionCase layer = new AttentionCase(shape, pageTokens, format, 1);
      layer.add(3 * pageTokens, 1, AttentionCase.Pages.DENSE, 1f);
      try (WorkerPool pool = new WorkerPool(1)) {
        layer.write(pool);
      }
      for (int from = 0; from < pageTokens; from += 3) {
        int count = pageTokens - from;
        int stride = KeyBlock.KEY_STRIDE;
        float[] keys = new float[headSize * stride + AttentionKernels.SLACK];
        float[] twinKeys = keys.clone();
        scalar.packKeys(layer.memory, 1, from, count, keys, 5, stride);
        vector.packKeys(layer.memory, 1, from, count, twinKeys, 5, stride);
        for (int d = 0; d < headSize; d++) {
          assertClose(twinKeys, keys, d * stride + 5, count, 0);
        }
        int valueStride = headSize + 16;
        float[] values = new float[(count + 2) * valueStride];
        float[] twinValues = values.clone();
        scalar.packValues(layer.memory, 1, from, count, values, 2 * valueStride, valueStride);
        vector.packValues(layer.memory, 1, from, count, twinValues, 2 * valueStride, valueStride);
        assertThat(twinValues).containsExactly(values);
      }
    }
  }

  @Test
  void products() {
    for (int depth : SIZES) {
      int rows = 24;
      int columns = 96;
      float[] a = gaussian(rows * (depth + 1));
      float[] b = gaussian(depth * 112 + 12);
      float[] expected = gaussian(rows * 100);
      float[] actual = expected.clone();
      scalar.multiplyAdd(a, depth + 1, b, 12, 112, expected, 100, rows, columns, depth);
      vector.multiplyAdd(a, depth + 1, b, 12, 112, actual, 100, rows, columns, depth);
      assertClose(actual, expected, 0, rows * 100, 1e-5 * depth);
      scalar.multiply(a, depth + 1, b, 12, 112, expected, 100, rows, columns, depth);
      vector.multiply(a, depth + 1, b, 12, 112, actual, 100, rows, columns, depth);
      assertClose(actual, expected, 0, rows * 100, 1e-5 * depth);
    }
  }

  @Test
  void rowArithmetic() {
    for (int n : SIZES) {
      float[] x = gaussian(n + 4);
      float max = scalar.maximum(x, 3, n);
      assertThat(vector.maximum(x, 3, n)).isEqualTo(max);
      float[] twin = x.clone();
      float sum = scalar.exponentials(x, 3, n, max);
      assertThat(vector.exponentials(twin, 3, n, max)).isCloseTo(sum, within(1e-6f * sum));
      assertClose(twin, x, 0, n + 4, 3e-7);
      float[] y = gaussian(n + 2);
      float[] twinY = y.clone();
      scalar.addScaled(y, 2, x, 3, n, 0.7f);
      vector.addScaled(twinY, 2, x, 3, n, 0.7f);
      assertClose(twinY, y, 0, n + 2, 3e-7);
      scalar.scale(y, 1, n, -3f);
      vector.scale(twinY, 1, n, -3f);
      assertClose(twinY, y, 0, n + 2, 1e-6);
    }
  }

  @Test
  void hiddenScoresWeighNothing() {
    float[] x = new float[40];
    Arrays.fill(x, Float.NEGATIVE_INFINITY);
    x[17] = -80f;
    assertThat(vector.exponentials(x, 0, 40, -80f)).isEqualTo(1f);
    for (int i = 0; i < 40; i++) {
      assertThat(x[i]).isEqualTo(i == 17 ? 1f : 0f);
    }
  }

  private static void assertClose(
      float[] actual, float[] expected, int offset, int count, double tolerance) {
    for (int i = offset; i < offset + count; i++) {
      assertThat((double) actual[i])
          .as("element %d", i)
          .isCloseTo(expected[i], within(tolerance * (1 + Math.abs(expected[i]))));
    }
  }

  private float[] gaussian(int n) {
    float[] x = new float[n];
    for (int i = 0; i < n; i++) {
      x[i] = (float) random.nextGaussian();
    }
    return x;
  }
}
