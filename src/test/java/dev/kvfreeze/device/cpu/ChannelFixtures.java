package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.SketchChannels;
import java.util.Arrays;
import java.util.Random;

/** Channels as a model might have them: a few dimensions much stronger than the others. */
public final class ChannelFixtures {
  private ChannelFixtures() {}

  /** For keys and queries that are alike in all dimensions. */
  static SketchChannels even(int headSize) {
    float[] ones = new float[headSize];
    Arrays.fill(ones, 1);
    return SketchChannels.of(ones, ones, SketchChannels.codes(headSize, 1));
  }

  /** A bit a dimension, mean. */
  static SketchChannels channels(int headSize, int seed) {
    return channels(headSize, seed, 1);
  }

  /** So many bits a dimension, mean. */
  public static SketchChannels channels(int headSize, int seed, int bits) {
    Random random = new Random(seed);
    float[] variances = new float[headSize];
    float[] energies = new float[headSize];
    for (int d = 0; d < headSize; d++) {
      variances[d] = (float) Math.exp(1.5 * random.nextGaussian());
      energies[d] = (float) Math.exp(1.5 * random.nextGaussian());
    }
    return SketchChannels.of(variances, energies, SketchChannels.codes(headSize, bits));
  }
}
