package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.KeySketches;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The vector kernels of sketch scoring against their scalar twins. */
class SketchKernelsTest {
  private static final int RUN = SketchKernels.RUN;

  @ParameterizedTest
  @CsvSource({"64, 1, 16, 13", "64, 2, 16, 0", "80, 1, 16, 1", "96, 2, 32, 17", "256, 2, 32, 32"})
  void agreeWithTheirTwins(int headSize, int planes, int waveStride, int waves) {
    SketchKernels vector = KernelProvider.choose().sketches();
    SketchKernels scalar = new ScalarSketchKernels();
    Random random = new Random(headSize + planes);
    int group = SketchKernels.TOGETHER;
    int stride = 2 * RUN + AttentionKernels.SLACK;
    KeySketches sketches = new KeySketches(headSize, RUN, planes);
    sketches.ensure(20);
    for (int i = 0; i < sketches.bits.length; i++) {
      sketches.bits[i] = random.nextInt();
    }
    // In place in the sketches' words: the same magnitude for every dimension.
    float[] query = new float[group * headSize];
    for (int i = 0; i < query.length; i++) {
      int place = i % headSize % (Integer.SIZE / planes) * planes;
      query[i] = (float) random.nextGaussian() / (1L << place);
    }
    RunPair runs = new RunPair();
    runs.open(group, waveStride, waves, numbers(random, 2 * waveStride * RUN));
    System.arraycopy(numbers(random, 2 * RUN), 0, runs.steps, 0, 2 * RUN);
    runs.offsets = numbers(random, group);
    runs.excess = numbers(random, group);
    System.arraycopy(numbers(random, 24), 0, runs.parabolas, 0, 24);
    float[] cosine = numbers(random, group * waveStride);
    float[] sine = numbers(random, group * waveStride);
    float[] cosines = numbers(random, 2 * waveStride);
    float[] sines = numbers(random, 2 * waveStride);
    int at0 = sketches.wordAt(3 * RUN, 0);
    int at1 = sketches.wordAt(18 * RUN, 0);

    float[][] scores = new float[2][group * stride];
    for (int i = 0; i < 2; i++) {
      SketchKernels kernels = i == 0 ? scalar : vector;
      for (int g = 0; g < group; g++) {
        for (int run = 0; run < 2; run++) {
          int to = (g * 2 + run) * 2 * waveStride;
          kernels.turn(
              cosine,
              sine,
              g * waveStride,
              cosines,
              sines,
              run * waveStride,
              waveStride,
              runs.factors,
              to);
        }
      }
      kernels.products3(sketches.bits, at0, at1, headSize, planes, query, 0, scores[i], 0, stride);
      for (int g = 0; g < group; g++) {
        kernels.finish(runs, g, scores[i], g * stride);
      }
      kernels.addWaves3(runs, 0, scores[i], 0, stride);
    }
    assertAlike(scores[0], scores[1], group, stride);

    float[] single = new float[group * stride];
    for (int g = 0; g < group; g++) {
      vector.products1(
          sketches.bits, at0, at1, headSize, planes, query, g * headSize, single, g * stride);
      vector.finish(runs, g, single, g * stride);
      vector.addWaves1(runs, g, single, g * stride);
    }
    assertAlike(scores[0], single, group, stride);
  }

  private static void assertAlike(float[] expected, float[] found, int group, int stride) {
    for (int g = 0; g < group; g++) {
      for (int t = 0; t < 2 * RUN; t++) {
        float wanted = expected[g * stride + t];
        assertThat(found[g * stride + t])
            .as("query %d, token %d", g, t)
            .isCloseTo(wanted, within(1e-3f + 1e-4f * Math.abs(wanted)));
      }
    }
  }

  private static float[] numbers(Random random, int count) {
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = (float) random.nextGaussian();
    }
    return numbers;
  }
}
