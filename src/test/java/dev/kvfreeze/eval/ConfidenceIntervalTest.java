package dev.kvfreeze.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.junit.jupiter.api.Test;

/** Intervals and exponents against known answers. */
class ConfidenceIntervalTest {
  @Test
  void coversTheMeanOfItsSourceAboutAsOftenAsItSays() {
    Random random = new Random(3);
    int covered = 0;
    for (int round = 0; round < 300; round++) {
      double[] values = random.doubles(30, 0, 10).toArray();
      ConfidenceInterval interval = ConfidenceInterval.ofMean(values);
      covered += interval.low() <= 5 && 5 <= interval.high() ? 1 : 0;
    }
    assertThat(covered).isBetween(270, 297);
  }

  @Test
  void ofOneValueThereIsNoneAndOfEqualOnesItIsThatValue() {
    assertThat(ConfidenceInterval.ofMean(new double[] {7}).known()).isFalse();
    assertThat(ConfidenceInterval.ofMean(new double[] {})).isEqualTo(ConfidenceInterval.NONE);
    assertThat(ConfidenceInterval.ofMean(new double[] {7, 7, 7}))
        .isEqualTo(new ConfidenceInterval(7, 7));
  }

  @Test
  void findsTheExponentOfAPowerLaw() {
    double[] lengths = {1024, 2048, 4096, 8192, 16384};
    double[] values = new double[lengths.length];
    for (int i = 0; i < lengths.length; i++) {
      values[i] = 300 * Math.pow(lengths[i], 0.5) * (i % 2 == 0 ? 1.01 : 0.99);
    }
    GrowthExponent growth = GrowthExponent.fit(lengths, values);
    assertThat(growth.exponent()).isCloseTo(0.5, within(0.01));
    assertThat(growth.interval().low()).isLessThan(0.5);
    assertThat(growth.interval().high()).isBetween(0.5, 0.55);
  }

  /** By hand: x = 0, 1, 2 and y = 0, 1, 3 give slope 1.5, error 0.2887, t(1) 12.706. */
  @Test
  void theIntervalIsStudents() {
    double e = Math.E;
    GrowthExponent growth =
        GrowthExponent.fit(new double[] {1, e, e * e}, new double[] {1, e, e * e * e});
    assertThat(growth.exponent()).isCloseTo(1.5, within(1e-9));
    assertThat(growth.interval().high()).isCloseTo(1.5 + 12.7062 * 0.288675, within(1e-3));
    assertThat(growth.interval().low()).isCloseTo(1.5 - 12.7062 * 0.288675, within(1e-3));
  }

  @Test
  void oneLengthHasNoExponentAndTwoHaveNoInterval() {
    double[] same = {1024, 1024};
    assertThatThrownBy(() -> GrowthExponent.fit(same, same))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("two lengths");
    GrowthExponent two = GrowthExponent.fit(new double[] {1, 4}, new double[] {5, 10});
    assertThat(two.exponent()).isCloseTo(0.5, within(1e-9));
    assertThat(two.interval().known()).isFalse();
  }
}
