package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchChannels;

/**
 * The queries of a group as a sketch's codes want them: turned like the keys, or of the dimensions
 * that are kept and times their weights; each number divided by the power of two that its code
 * stands at in a word.
 */
final class SketchedQuery {
  /** Twice the inverse powers of two. */
  private static final float[] POWERS = new float[Integer.SIZE];

  static {
    for (int i = 0; i < POWERS.length; i++) {
      POWERS[i] = 2f / (1L << i);
    }
  }

  /** {@code [query][codes]}. */
  float[] scaled = {};

  /** What is added to a product to get the score over the step, by query. */
  float[] offsets = {};

  /**
   * What is taken from a score for each square of its step, by query: half the variance of a
   * score's error. Rounding errors are as good as random, and the exponential of a random number is
   * larger on average than that of its mean, by the exponential of half its variance; without this,
   * what the sketches know least would look most important.
   */
  float[] excess = {};

  /** What they score with the centre, or null where the centre does not turn. */
  CentreScores.Query centre;

  private CentreScores centres;
  private float[] rotated = {};
  private float[] queries = {};

  /** After {@link #set}: scores with a head's centre. */
  void setCentre(CentreScores scores, int group, int headSize, float[] keyCentre) {
    if (centre == null || centres != scores) {
      centres = scores;
      centre = scores.new Query();
    }
    centre.set(queries, group, headSize, keyCentre);
  }

  /** Takes {@code group} queries from {@code x[offset]} on, times a scale. */
  void set(
      AttentionKernels kernels,
      float[] x,
      int offset,
      int group,
      KeySketches sketches,
      float scale) {
    int headSize = sketches.headSize();
    int codes = sketches.codes();
    int planes = sketches.planes();
    RotationMatrix rotation = RotationMatrix.of(headSize);
    SketchChannels channels = sketches.channels();
    int stride = channels == null ? rotation.stride() : codes;
    int rows = AttentionKernels.paddedRows(group);
    if (scaled.length < group * codes
        || offsets.length < group
        || queries.length < rows * headSize + AttentionKernels.SLACK
        || rotated.length < rows * stride + AttentionKernels.SLACK) {
      scaled = new float[group * codes];
      offsets = new float[group];
      excess = new float[group];
      rotated = new float[rows * stride + AttentionKernels.SLACK];
      queries = new float[rows * headSize + AttentionKernels.SLACK];
    }
    System.arraycopy(x, offset, queries, 0, group * headSize);
    kernels.scale(queries, 0, group * headSize, scale);
    if (channels == null) {
      rotation.rotate(kernels, queries, group, rotated);
    } else {
      gather(channels, group);
    }
    int codesOfWord = Integer.SIZE / planes;
    for (int g = 0; g < group; g++) {
      float sum = 0;
      float top = 0;
      float square = 0;
      for (int i = 0; i < codes; i++) {
        // A code u stands for 2u - (2^planes - 1), so the factor is twice the query.
        float value = rotated[g * stride + i];
        int place = i % codesOfWord;
        scaled[g * codes + i] = value * POWERS[place * planes];
        sum += value;
        square += value * value;
        top += place == codesOfWord - 1 ? value : 0;
      }
      excess[g] = square * sketches.errorVariance() / 2;
      // The topmost code of a word is read as u - 2^(planes - 1), see KeySketches.
      offsets[g] = 2 * top * (1 << planes - 1) - sum * ((1 << planes) - 1);
    }
  }

  private void gather(SketchChannels channels, int group) {
    int[] dimensions = channels.dimensions();
    float[] weights = channels.weights();
    int codes = channels.codes();
    for (int g = 0; g < group; g++) {
      for (int i = 0; i < codes; i++) {
        rotated[g * codes + i] = queries[g * channels.headSize() + dimensions[i]] * weights[i];
      }
    }
  }
}
