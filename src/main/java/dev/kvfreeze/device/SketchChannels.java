package dev.kvfreeze.device;

import java.util.Arrays;

/**
 * Which dimensions of a head's keys a sketch keeps, and how finely: bits go where they take most
 * from the error of the scores, which is the variance of the keys there times the energy of the
 * queries (reverse water-filling, Cover and Thomas, section 10.3.3). Most of it lies in few
 * dimensions, the same ones in every text, so that they are found once for a model ({@link
 * SketchCalibration}).
 *
 * <p>A dimension is kept in 2, 4 or 6 bits, as one, two or three codes of 2 bits, the highest
 * first: code {@code u} stands for {@code weight * (2u - 3)} times the step of the key.
 */
public final class SketchChannels {
  private static final int CODE_BITS = 2;
  private static final int MOST_CODES = 3;

  /** Of a Gaussian number of variance 1, by codes: the width of the best uniform levels. */
  private static final double[] WIDTHS = {0, 0.9957, 0.3352, 0.1041};

  /** And the mean square of the error that they leave. */
  private static final double[] ERRORS = {1, 0.1175, 0.009497, 0.000644};

  private final int headSize;
  private final int[] dimensions;
  private final float[] weights;
  private final int[] keptDimensions;
  private final int[] keptCodes;
  private final float[] inverseWidths;

  private SketchChannels(int[] codesOf, double[] deviations) {
    headSize = codesOf.length;
    int codes = Arrays.stream(codesOf).sum();
    int kept = (int) Arrays.stream(codesOf).filter(count -> count > 0).count();
    dimensions = new int[codes];
    weights = new float[codes];
    keptDimensions = new int[kept];
    keptCodes = new int[kept];
    inverseWidths = new float[kept];
    int code = 0;
    int entry = 0;
    for (int d = 0; d < headSize; d++) {
      if (codesOf[d] == 0) {
        continue;
      }
      double width = deviations[d] * WIDTHS[codesOf[d]];
      keptDimensions[entry] = d;
      keptCodes[entry] = codesOf[d];
      inverseWidths[entry++] = (float) (1 / width);
      for (int place = codesOf[d] - 1; place >= 0; place--) {
        dimensions[code] = d;
        weights[code++] = (float) (width / 2 * (1 << CODE_BITS * place));
      }
    }
  }

  /** How many codes a key has for so many bits a dimension. */
  public static int codes(int headSize, int bits) {
    return Math.max(1, headSize * bits / CODE_BITS);
  }

  /**
   * Spends codes one by one where they help most.
   *
   * @param keyVariances by dimension, what keys have in common taken off
   * @param queryEnergies mean squares of the queries, by dimension
   */
  public static SketchChannels of(float[] keyVariances, float[] queryEnergies, int codes) {
    int headSize = keyVariances.length;
    if (queryEnergies.length != headSize || codes < 1 || codes > headSize * MOST_CODES) {
      throw new IllegalArgumentException(
          codes + " codes for heads of " + headSize + " and queries of " + queryEnergies.length);
    }
    double[] variances = new double[headSize];
    double[] gains = new double[headSize];
    for (int d = 0; d < headSize; d++) {
      // A dimension that never moved in the calibration may still do so.
      variances[d] = usable(keyVariances[d]);
      gains[d] = variances[d] * usable(queryEnergies[d]);
    }
    int[] codesOf = new int[headSize];
    for (int spent = 0; spent < codes; spent++) {
      int best = -1;
      double most = -1;
      for (int d = 0; d < headSize; d++) {
        int now = codesOf[d];
        double gain = now == MOST_CODES ? -1 : gains[d] * (ERRORS[now] - ERRORS[now + 1]);
        if (gain > most) {
          most = gain;
          best = d;
        }
      }
      codesOf[best]++;
    }
    double[] deviations = new double[headSize];
    Arrays.setAll(deviations, d -> Math.sqrt(variances[d]));
    return new SketchChannels(codesOf, deviations);
  }

  private static double usable(float energy) {
    return energy > 1e-12f && energy < 1e12f ? energy : 1e-12;
  }

  /** Dimensions of the keys and queries. */
  public int headSize() {
    return headSize;
  }

  /** Codes of a key. */
  public int codes() {
    return dimensions.length;
  }

  /** By code: the dimension it is of. */
  public int[] dimensions() {
    return dimensions;
  }

  /** By code: what a level of 1 stands for, at a step of 1. */
  public float[] weights() {
    return weights;
  }

  /** The dimensions that are kept, in order. */
  public int[] keptDimensions() {
    return keptDimensions;
  }

  /** By kept dimension: its codes. */
  public int[] keptCodes() {
    return keptCodes;
  }

  /** By kept dimension: one over the width of its levels, at a step of 1. */
  public float[] inverseWidths() {
    return inverseWidths;
  }
}
