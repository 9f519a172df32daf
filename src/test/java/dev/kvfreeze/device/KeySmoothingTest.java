package dev.kvfreeze.device;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import org.junit.jupiter.api.Test;

class KeySmoothingTest {
  private static final int KV_HEADS = 2;
  private static final int GROUP = 3;
  private static final int SIZE = 8;

  private final KeySmoothing smoothing = KeySmoothing.of(largest(), KV_HEADS, GROUP);

  /** Two layers of two heads; a dimension that is always 0, one that is not a number. */
  private static float[][] largest() {
    Random random = new Random(1);
    float[][] largest = new float[2 * KV_HEADS][SIZE];
    for (float[] head : largest) {
      for (int d = 0; d < SIZE; d++) {
        head[d] = (float) Math.exp(3 * random.nextGaussian());
      }
    }
    largest[1][3] = 0;
    largest[3][0] = Float.NaN;
    return largest;
  }

  @Test
  void smoothedKeysAreAboutOneAtMost() {
    float[][] largest = largest();
    for (int i = 0; i < largest.length; i++) {
      float[] factors = smoothing.keyFactors()[i / KV_HEADS];
      for (int d = 0; d < SIZE; d++) {
        float factor = factors[i % KV_HEADS * SIZE + d];
        if (largest[i][d] > 0) {
          assertThat(factor * largest[i][d]).isBetween(0.7f, 1.42f);
        } else {
          assertThat(factor).isOne();
        }
      }
    }
  }

  /** So that a score keeps all its bits. */
  @Test
  void aKeysFactorTimesAQuerysIsOneAndBothArePowersOfTwo() {
    for (int layer = 0; layer < 2; layer++) {
      float[] keys = smoothing.keyFactors()[layer];
      float[] queries = smoothing.queryFactors()[layer];
      assertThat(queries).hasSize(KV_HEADS * GROUP * SIZE);
      for (int i = 0; i < queries.length; i++) {
        float key = keys[i / SIZE / GROUP * SIZE + i % SIZE];
        assertThat(key * queries[i]).isOne();
        assertThat(Math.scalb(1f, Math.getExponent(key))).isEqualTo(key);
      }
    }
  }

  /** What a dimension contributes to scores stays, so sketches keep the same dimensions. */
  @Test
  void sketchesSpendTheirBitsAsBefore() {
    Random random = new Random(2);
    float[][] variances = new float[2 * KV_HEADS][SIZE];
    float[][] energies = new float[2 * KV_HEADS][SIZE];
    for (int i = 0; i < variances.length; i++) {
      for (int d = 0; d < SIZE; d++) {
        variances[i][d] = random.nextFloat();
        energies[i][d] = random.nextFloat();
      }
    }
    SketchCalibration plain = new SketchCalibration(variances, energies);
    SketchCalibration smoothed = smoothing.smoothed(plain);
    for (int i = 0; i < variances.length; i++) {
      float[] factors = smoothing.keyFactors()[i / KV_HEADS];
      for (int d = 0; d < SIZE; d++) {
        float factor = factors[i % KV_HEADS * SIZE + d];
        assertThat(smoothed.keyVariances()[i][d]).isEqualTo(variances[i][d] * factor * factor);
        assertThat(smoothed.keyVariances()[i][d] * smoothed.queryEnergies()[i][d])
            .isEqualTo(variances[i][d] * energies[i][d]);
      }
      assertThat(smoothed.channels(1)[i].dimensions())
          .containsExactly(plain.channels(1)[i].dimensions());
    }
    assertThat(KeySmoothing.NONE.smoothed(plain)).isSameAs(plain);
    assertThat(smoothing.smoothed(SketchCalibration.NONE).isNone()).isTrue();
  }
}
