package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchChannels;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ChannelCodesTest {
  private final Random random = new Random(5);

  @Test
  void codesGoWhereTheyTakeMostFromTheError() {
    float[] variances = {1, 1, 1, 1, 50, 1, 1, 1};
    float[] energies = {1, 1, 1, 1, 1, 50, 1e-3f, 1};
    SketchChannels channels = SketchChannels.of(variances, energies, 8);
    assertThat(channels.codes()).isEqualTo(8);
    assertThat(Arrays.stream(channels.dimensions()).filter(d -> d == 4).count()).isEqualTo(2);
    assertThat(Arrays.stream(channels.dimensions()).filter(d -> d == 5).count()).isEqualTo(2);
    assertThat(channels.dimensions()).doesNotContain(6).isSorted();
    assertThat(Arrays.stream(channels.keptCodes()).sum()).isEqualTo(8);
  }

  @Test
  void noDimensionGetsMoreThanThreeCodesAndBrokenStatisticsAreTaken() {
    float[] variances = {1e30f, Float.NaN, 0, -1, Float.POSITIVE_INFINITY, 1};
    SketchChannels channels = SketchChannels.of(variances, variances, 6 * 3);
    assertThat(channels.keptCodes()).containsOnly(3).hasSize(6);
    for (float weight : channels.weights()) {
      assertThat(weight).isPositive().isFinite();
    }
    assertThatThrownBy(() -> SketchChannels.of(variances, variances, 19))
        .isInstanceOf(IllegalArgumentException.class);
  }

  /** Nothing is cut: what is decoded lies within half a level of the key. */
  @ParameterizedTest
  @ValueSource(ints = {2, 6, 40, 64, 80, 96, 128, 256})
  void decodedDimensionsAreWithinHalfALevel(int headSize) {
    for (int bits = 1; bits <= 2; bits++) {
      SketchChannels channels = ChannelFixtures.channels(headSize, headSize, bits);
      KeySketches sketches = new KeySketches(16, channels, null);
      sketches.ensure(5);
      for (int token = 0; token < 80; token++) {
        float[] key = new float[headSize];
        for (int d = 0; d < headSize; d++) {
          key[d] = (float) (Math.exp(token % 7 - 3) * random.nextGaussian());
        }
        ChannelCodes.encode(key, 0, sketches, token);
        assertDecoded(key, sketches, token);
      }
    }
  }

  private static void assertDecoded(float[] key, KeySketches sketches, int token) {
    SketchChannels channels = sketches.channels();
    float[] decoded = new float[key.length];
    float step = Bfloat16.low(sketches.steps[token]);
    assertThat(step).isGreaterThanOrEqualTo(1);
    for (int i = 0; i < channels.codes(); i++) {
      decoded[channels.dimensions()[i]] +=
          step * channels.weights()[i] * (2 * sketches.code(token, i) - 3);
    }
    for (int entry = 0; entry < channels.keptDimensions().length; entry++) {
      int d = channels.keptDimensions()[entry];
      float half = step / channels.inverseWidths()[entry] / 2;
      assertThat(Math.abs(decoded[d] - key[d])).isLessThanOrEqualTo(half * 1.01f);
    }
  }
}
