package dev.kvfreeze.eval;

import java.util.Arrays;
import java.util.SplittableRandom;

/** A 95 % interval; both ends NaN where there is too little to say. */
public record ConfidenceInterval(double low, double high) {
  private static final int DRAWS = 4000;
  private static final long SEED = 1;

  /** There is none. */
  public static final ConfidenceInterval NONE = new ConfidenceInterval(Double.NaN, Double.NaN);

  /**
   * Of a mean: bootstrapped over the values, percentiles 2.5 and 97.5 (Efron 1979); the same for
   * the same values. Of fewer than two values there is none. With few values it is too narrow.
   */
  public static ConfidenceInterval ofMean(double[] values) {
    if (values.length < 2) {
      return NONE;
    }
    SplittableRandom random = new SplittableRandom(SEED);
    double[] means = new double[DRAWS];
    for (int draw = 0; draw < DRAWS; draw++) {
      double sum = 0;
      for (int i = 0; i < values.length; i++) {
        sum += values[random.nextInt(values.length)];
      }
      means[draw] = sum / values.length;
    }
    Arrays.sort(means);
    return new ConfidenceInterval(
        means[(int) (0.025 * DRAWS)], means[(int) Math.ceil(0.975 * DRAWS) - 1]);
  }

  public boolean known() {
    return !Double.isNaN(low);
  }
}
