package dev.kvfreeze.device;

import java.util.Arrays;

/**
 * Numbers by which keys are divided and queries multiplied, so that scores stay what they are while
 * no dimension of a key is far larger than the others: keys of 8 bits share scales, and a large
 * dimension would take the small ones' bits (SmoothAttention of QServe, Lin et al., arXiv
 * 2405.04532). They are powers of two, hence exact, and alike for the two dimensions of a pair of
 * the rotary embedding, which may then turn smoothed keys.
 *
 * @param keyFactors {@code [layer][kvHeads * headSize]}
 * @param queryFactors {@code [layer][heads * headSize]}
 */
public record KeySmoothing(float[][] keyFactors, float[][] queryFactors) {
  /** Keys stay as they are. */
  public static final KeySmoothing NONE = new KeySmoothing(new float[0][], new float[0][]);

  /**
   * Of a model.
   *
   * @param largest {@code [layer * kvHeads + head][headSize]}: how large keys get, alike for the
   *     dimensions of a pair
   * @param kvHeads of a layer
   * @param group query heads of a KV head
   */
  public static KeySmoothing of(float[][] largest, int kvHeads, int group) {
    int layers = largest.length / kvHeads;
    float[][] keys = new float[layers][];
    float[][] queries = new float[layers][];
    for (int layer = 0; layer < layers; layer++) {
      int size = largest[layer * kvHeads].length;
      keys[layer] = new float[kvHeads * size];
      queries[layer] = new float[kvHeads * group * size];
      for (int head = 0; head < kvHeads; head++) {
        for (int d = 0; d < size; d++) {
          float unit = unit(largest[layer * kvHeads + head][d]);
          keys[layer][head * size + d] = 1 / unit;
          for (int g = 0; g < group; g++) {
            queries[layer][(head * group + g) * size + d] = unit;
          }
        }
      }
    }
    return new KeySmoothing(keys, queries);
  }

  /** The power of two next to it; 1 for a dimension that is always 0 or out of bounds. */
  private static float unit(float largest) {
    if (!(largest > 0x1p-60f && largest < 0x1p60f)) {
      return 1;
    }
    return (float) Math.scalb(1.0, (int) Math.rint(Math.log(largest) / Math.log(2)));
  }

  public boolean isNone() {
    return keyFactors.length == 0;
  }

  /** What sketches of smoothed keys are to know of keys and queries. */
  public SketchCalibration smoothed(SketchCalibration calibration) {
    if (isNone() || calibration.isNone()) {
      return calibration;
    }
    int heads = calibration.keyVariances().length / keyFactors.length;
    float[][] variances = new float[calibration.keyVariances().length][];
    float[][] energies = new float[variances.length][];
    for (int i = 0; i < variances.length; i++) {
      float[] variance = calibration.keyVariances()[i].clone();
      float[] energy = calibration.queryEnergies()[i].clone();
      int size = variance.length;
      int from = i % heads * size;
      float[] factors = Arrays.copyOfRange(keyFactors[i / heads], from, from + size);
      for (int d = 0; d < size; d++) {
        variance[d] *= factors[d] * factors[d];
        energy[d] /= factors[d] * factors[d];
      }
      variances[i] = variance;
      energies[i] = energy;
    }
    return new SketchCalibration(variances, energies);
  }
}
