package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ElementwiseOperationsTest {
  private final WorkerPool pool = new WorkerPool(2);
  private final ElementwiseOperations vector =
      new ElementwiseOperations(pool, new VectorElementwiseKernels());

  @AfterEach
  void stop() {
    pool.close();
  }

  @Test
  void ropeIsAccurateAtFarPositions() {
    int[] positions = {0, 1, 7, 8191, 32768, 131072, 3};
    for (Rope.Pairing pairing : Rope.Pairing.values()) {
      for (int rotated : new int[] {64, 32}) {
        Rope rope = new Rope(frequencies(rotated / 2), pairing);
        CpuActivations x = random(positions.length, 3 * 64, 5);
        float[] before = x.values().clone();
        vector.rope(x, positions.length, 64, rope, positions);
        for (int r = 0; r < positions.length; r++) {
          for (int head = 0; head < 3; head++) {
            checkHead(before, x.values(), r * 192 + head * 64, positions[r], rope, rotated);
          }
        }
      }
    }
  }

  @Test
  void logitStatisticsByRunsAreThoseOfTheWholeRow() {
    ElementwiseKernels scalar = new ScalarElementwiseKernels();
    for (int count : new int[] {1, 8191, 8192, 8193, 16384, 49152, 50001, 151_936}) {
      CpuActivations logits = random(2, count, count);
      for (int i = 0; i < count; i++) {
        logits.values()[count + i] *= 8;
      }
      for (int row = 0; row < 2; row++) {
        LogitStatistics wanted = scalar.logitStatistics(logits.values(), row * count, count);
        LogitStatistics found = vector.logitStatistics(logits, row);
        assertThat(found.argmax()).isEqualTo(wanted.argmax());
        assertThat(found.max()).isEqualTo(wanted.max());
        assertThat(found.logSumExp()).isCloseTo(wanted.logSumExp(), within(1e-5f));
        assertThat(found.entropy()).isCloseTo(wanted.entropy(), within(2e-5f));
      }
    }
  }

  @Test
  void logitsThatAreNotFiniteInAnyRun() {
    int count = 20_000;
    for (int at : new int[] {0, 8191, 8192, 19_999}) {
      CpuActivations logits = random(1, count, 3);
      logits.values()[at] = Float.NaN;
      assertThat(vector.logitStatistics(logits, 0).logSumExp()).isNaN();
      logits.values()[at] = Float.POSITIVE_INFINITY;
      assertThat(vector.logitStatistics(logits, 0).logSumExp()).isNaN();
    }
    CpuActivations allowed = random(1, count, 4);
    java.util.Arrays.fill(allowed.values(), 8192, 16_384, Float.NEGATIVE_INFINITY);
    LogitStatistics wanted =
        new ScalarElementwiseKernels().logitStatistics(allowed.values(), 0, count);
    assertThat(vector.logitStatistics(allowed, 0).entropy())
        .isCloseTo(wanted.entropy(), within(2e-5f));
    assertThat(vector.logitStatistics(allowed, 0).argmax()).isEqualTo(wanted.argmax());
  }

  private static void checkHead(
      float[] before, float[] after, int at, int position, Rope rope, int rotated) {
    int pairs = rotated / 2;
    boolean half = rope.pairing() == Rope.Pairing.HALF_SPLIT;
    for (int i = 0; i < pairs; i++) {
      int first = at + (half ? i : 2 * i);
      int second = at + (half ? i + pairs : 2 * i + 1);
      double angle = (double) position * rope.inverseFrequencies()[i];
      double a = before[first];
      double b = before[second];
      double rotatedFirst = a * Math.cos(angle) - b * Math.sin(angle);
      double rotatedSecond = a * Math.sin(angle) + b * Math.cos(angle);
      assertThat((double) after[first]).isCloseTo(rotatedFirst, within(1e-6));
      assertThat((double) after[second]).isCloseTo(rotatedSecond, within(1e-6));
    }
    for (int d = rotated; d < 64; d++) {
      assertThat(after[at + d]).isEqualTo(before[at + d]);
    }
  }

  @Test
  void ropeFollowsThePositionsOfThePass() {
    Rope local = new Rope(frequencies(32), Rope.Pairing.HALF_SPLIT);
    Rope global = new Rope(frequencies(16), Rope.Pairing.INTERLEAVED);
    int[][] passes = {{5, 6, 7, 8}, {5, 6}, {9}, {5, 6, 7, 8}, {0, 1, 2, 3, 4, 5}};
    for (int[] positions : passes) {
      for (Rope rope : new Rope[] {local, global, local}) {
        CpuActivations x = random(positions.length, 64, 8);
        CpuActivations fresh = random(positions.length, 64, 8);
        vector.rope(x, positions.length, 64, rope, positions);
        new ElementwiseOperations(pool, new VectorElementwiseKernels())
            .rope(fresh, positions.length, 64, rope, positions);
        assertThat(x.values()).containsExactly(fresh.values());
      }
    }
  }

  @Test
  void rowsInParallelEqualRowsAlone() {
    try (WorkerPool single = new WorkerPool(1)) {
      ElementwiseOperations alone =
          new ElementwiseOperations(single, new VectorElementwiseKernels());
      CpuActivations x = random(301, 576, 1);
      CpuActivations twin = random(301, 576, 1);
      everything(vector, x);
      everything(alone, twin);
      assertThat(x.values()).containsExactly(twin.values());
    }
  }

  private static void everything(ElementwiseOperations operations, CpuActivations x) {
    float[] gain = random(1, 576, 2).values();
    CpuActivations y = random(301, 576, 3);
    int[] positions = new Random(4).ints(301, 0, 9000).toArray();
    operations.rmsNorm(x, 301, gain, 1e-5f, x);
    operations.rmsNormHeads(x, 301, 64, random(1, 64, 6).values(), 1e-6f);
    operations.addBias(x, 301, gain);
    operations.add(x, y, 300);
    operations.scale(x, 301, 24f);
    operations.rope(x, 301, 64, new Rope(frequencies(32), Rope.Pairing.INTERLEAVED), positions);
    operations.gate(GateActivation.SILU, x, y, 301);
  }

  @Test
  void leavesRowsBeyondAlone() {
    CpuActivations x = random(3, 64, 1);
    float[] before = x.values().clone();
    vector.scale(x, 2, 3f);
    vector.add(x, x, 1);
    for (int i = 128; i < 192; i++) {
      assertThat(x.values()[i]).isEqualTo(before[i]);
    }
  }

  @Test
  void refusesMisshapenOperands() {
    CpuActivations x = random(2, 64, 1);
    assertThatThrownBy(() -> vector.rmsNorm(x, 2, new float[63], 1e-5f, x))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("63");
    Rope wide = new Rope(frequencies(40), Rope.Pairing.HALF_SPLIT);
    assertThatThrownBy(() -> vector.rope(x, 2, 64, wide, new int[2]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("80");
  }

  private static float[] frequencies(int pairs) {
    float[] frequencies = new float[pairs];
    for (int i = 0; i < pairs; i++) {
      frequencies[i] = (float) Math.pow(100_000, -(double) i / pairs);
    }
    return frequencies;
  }

  private static CpuActivations random(int rows, int columns, long seed) {
    CpuActivations x = CpuActivations.allocate(rows, columns);
    Random random = new Random(seed);
    for (int i = 0; i < rows * columns; i++) {
      x.values()[i] = (float) random.nextGaussian();
    }
    return x;
  }
}
