package dev.kvfreeze.eval;

import org.apache.commons.math3.distribution.TDistribution;
import org.apache.commons.math3.stat.regression.SimpleRegression;

/**
 * How something grows with the context: the exponent e of {@code c * length^e}, by least squares on
 * logarithms. 1 is the full cache's.
 *
 * @param interval of the exponent by Student's t; it tells of the scatter about the power law, not
 *     of lengths that were not measured
 */
public record GrowthExponent(double exponent, ConfidenceInterval interval) {
  /**
   * Fits positive values at positive lengths.
   *
   * @throws IllegalArgumentException with fewer than two different lengths
   */
  public static GrowthExponent fit(double[] lengths, double[] values) {
    SimpleRegression regression = new SimpleRegression();
    for (int i = 0; i < lengths.length; i++) {
      regression.addData(Math.log(lengths[i]), Math.log(values[i]));
    }
    double exponent = regression.getSlope();
    if (Double.isNaN(exponent)) {
      throw new IllegalArgumentException(
          "an exponent needs values at two lengths at least, found " + lengths.length + " values");
    }
    if (lengths.length < 3) {
      return new GrowthExponent(exponent, ConfidenceInterval.NONE);
    }
    double t = new TDistribution(null, lengths.length - 2).inverseCumulativeProbability(0.975);
    double half = t * regression.getSlopeStdErr();
    return new GrowthExponent(exponent, new ConfidenceInterval(exponent - half, exponent + half));
  }
}
