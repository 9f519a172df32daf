package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.LogitStatistics;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SamplerTest {
  private static final int DRAWS = 20_000;

  private static SamplingOptions options(float temperature, int topK, float topP, float minP) {
    return new SamplingOptions(temperature, topK, topP, minP, 1, 256, 7);
  }

  private static LogitStatistics statistics(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      best = logits[i] > logits[best] ? i : best;
    }
    double sum = 0;
    for (float logit : logits) {
      sum += Math.exp((double) logit - logits[best]);
    }
    return new LogitStatistics(best, logits[best], (float) (logits[best] + Math.log(sum)), 0);
  }

  private static int next(Sampler sampler, float... logits) {
    return sampler.next(logits.clone(), statistics(logits));
  }

  private static float[] logits(int vocabulary, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    float[] logits = new float[vocabulary];
    for (int i = 0; i < vocabulary; i++) {
      logits[i] = (float) (4 * random.nextGaussian());
    }
    return logits;
  }

  /** The distribution written down plainly: sort everything, filter, normalise. */
  private static double[] expected(float[] logits, SamplingOptions options) {
    Integer[] order = new Integer[logits.length];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, (a, b) -> Float.compare(logits[b], logits[a]));
    int kept = options.topK() > 0 ? Math.min(options.topK(), logits.length) : logits.length;
    double[] p = new double[logits.length];
    double sum = 0;
    for (int i = 0; i < kept; i++) {
      p[i] = Math.exp((logits[order[i]] - logits[order[0]]) / options.temperature());
      sum += p[i];
    }
    double reached = 0;
    for (int i = 0; i < kept; i++) {
      if (i > 0 && reached >= options.topP() * sum || p[i] < options.minP()) {
        kept = i;
      } else {
        reached += p[i];
      }
    }
    double[] byToken = new double[logits.length];
    for (int i = 0; i < kept; i++) {
      byToken[order[i]] = p[i] / reached;
    }
    return byToken;
  }

  @ParameterizedTest
  @CsvSource({
    "1.0, 0, 1.0, 0",
    "0.3, 0, 1.0, 0",
    "5.0, 0, 1.0, 0",
    "1.0, 5, 1.0, 0",
    "1.0, 97, 1.0, 0",
    "1.0, 5000, 0.95, 0",
    "1.0, 0, 0.9, 0",
    "20.0, 0, 0.99, 0",
    "1.0, 0, 1.0, 0.1",
    "0.8, 20, 0.9, 0.02",
  })
  void drawsFromTheFilteredDistribution(float temperature, int topK, float topP, float minP) {
    SamplingOptions options = options(temperature, topK, topP, minP);
    float[] logits = logits(97, 1);
    double[] expected = expected(logits, options);
    double chiSquare = 0;
    int freedom = 0;
    // Several documents' streams together, so that one unlucky stream says less than a bias does.
    for (int document = 0; document < 8; document++) {
      Sampler sampler = new Sampler("document" + document, options);
      int[] drawn = new int[logits.length];
      for (int i = 0; i < DRAWS; i++) {
        drawn[next(sampler, logits)]++;
      }
      int cells = 0;
      double rareExpected = 0;
      int rareDrawn = 0;
      for (int token = 0; token < logits.length; token++) {
        double awaited = expected[token] * DRAWS;
        if (awaited == 0) {
          assertThat(drawn[token]).as("token %s is filtered out", token).isZero();
        } else if (awaited < 10) {
          rareExpected += awaited;
          rareDrawn += drawn[token];
        } else {
          chiSquare += (drawn[token] - awaited) * (drawn[token] - awaited) / awaited;
          cells++;
        }
      }
      if (rareExpected >= 10) {
        chiSquare += (rareDrawn - rareExpected) * (rareDrawn - rareExpected) / rareExpected;
        cells++;
      }
      freedom += cells - 1;
    }
    assertThat(freedom).isPositive();
    // Mean and variance of chi-square with n degrees of freedom are n and 2n: four deviations.
    assertThat(chiSquare).isLessThan(freedom + 4 * Math.sqrt(2.0 * freedom));
  }

  @Test
  void keepsTheTailOfALargeFlatVocabulary() {
    int vocabulary = 262_144;
    float[] flat = new float[vocabulary];
    Sampler sampler = new Sampler("document", options(1, 0, 1, 0));
    Sampler nucleus = new Sampler("document", options(1, 0, 0.5f, 0));
    int high = 0;
    for (int i = 0; i < 60; i++) {
      high += next(sampler, flat) >= vocabulary / 2 ? 1 : 0;
      assertThat(next(nucleus, flat)).as("ties go to the smaller tokens").isLessThan(131_072);
    }
    assertThat(high).isBetween(12, 48);
  }

  @ParameterizedTest
  @CsvSource({"1, 1, 0", "0, 1e-9, 0", "0, 0, 0", "0, 1, 1", "0, 1, 7", "1, 0.1, 1"})
  void filtersAlwaysLeaveTheBest(int topK, float topP, float minP) {
    Sampler sampler = new Sampler("document", options(2, topK, topP, minP));
    for (int i = 0; i < 50; i++) {
      assertThat(next(sampler, 1, 3, 2.9f, -5)).isEqualTo(1);
    }
  }

  @Test
  void impossibleTokensAreNeverDrawn() {
    float none = Float.NEGATIVE_INFINITY;
    for (int topK : new int[] {0, 4}) {
      for (float topP : new float[] {1, 0.999f}) {
        Sampler sampler = new Sampler("document", options(3, topK, topP, 0));
        for (int i = 0; i < 200; i++) {
          assertThat(next(sampler, none, 0, none, 0)).isIn(1, 3);
        }
      }
    }
  }

  @Test
  void greedyTakesTheDevicesWordAndNoLogits() {
    Sampler sampler = new Sampler("document", SamplingOptions.GREEDY);
    assertThat(sampler.needsLogits()).isFalse();
    assertThat(sampler.next(null, new LogitStatistics(41, 3, 4, 1))).isEqualTo(41);
    sampler.accept(41);
    assertThat(sampler.needsLogits()).isFalse();
  }

  @Test
  void penaltyAppliesOnceToTokensOfTheWindow() {
    SamplingOptions options = new SamplingOptions(0, 0, 1, 0, 2, 2, 7);
    Sampler sampler = new Sampler("document", options);
    assertThat(sampler.needsLogits()).as("nothing to penalise yet").isFalse();
    sampler.accept(0);
    sampler.accept(0);
    assertThat(sampler.needsLogits()).isTrue();
    assertThat(next(sampler, 4, 1.9f, 1)).as("4 / 2, once").isEqualTo(0);
    assertThat(next(sampler, 4, 2.1f, 1)).isEqualTo(1);
    assertThat(next(sampler, -1, -1.9f, -3)).as("-1 * 2").isEqualTo(1);
    sampler.accept(1);
    sampler.accept(2);
    assertThat(next(sampler, 4, 4.1f, 4.2f)).as("token 0 left the window").isEqualTo(0);
  }

  @Test
  void aPenaltyWithoutAWindowDoesNothing() {
    Sampler sampler = new Sampler("document", new SamplingOptions(0, 0, 1, 0, 2, 0, 7));
    sampler.accept(0);
    assertThat(sampler.needsLogits()).isFalse();
  }

  @Test
  void seedAndDocumentDecideAndNothingElse() {
    int[] first = draws(new Sampler("a", options(1, 0, 1, 0)));
    assertThat(draws(new Sampler("a", options(1, 0, 1, 0)))).isEqualTo(first);
    assertThat(draws(new Sampler("b", options(1, 0, 1, 0)))).isNotEqualTo(first);
    assertThat(draws(new Sampler("a", new SamplingOptions(1, 0, 1, 0, 1, 256, 8))))
        .isNotEqualTo(first);
  }

  private static int[] draws(Sampler sampler) {
    float[] logits = logits(300, 3);
    int[] drawn = new int[60];
    for (int i = 0; i < drawn.length; i++) {
      drawn[i] = next(sampler, logits);
    }
    return drawn;
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void logitsThatAreNoDistributionNameTheDocument(float value) {
    for (float temperature : new float[] {0, 1}) {
      Sampler sampler = new Sampler("report-7", options(temperature, 0, 1, 0));
      assertThatThrownBy(
              () -> sampler.next(new float[2], new LogitStatistics(0, value, value, value)))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("report-7");
      assertThatThrownBy(() -> sampler.next(new float[2], new LogitStatistics(0, 1, Float.NaN, 0)))
          .isInstanceOf(IllegalStateException.class);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 7, 54, 97, 1000, 262_144})
  void candidatesAreTheLargestInOrder(int vocabulary) {
    float[] logits = logits(vocabulary, vocabulary);
    logits[vocabulary / 2] = logits[0];
    Integer[] order = new Integer[vocabulary];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, (a, b) -> Float.compare(logits[b], logits[a]));
    CandidateList list = new CandidateList();
    for (int limit : new int[] {1, 2, 40, vocabulary}) {
      list.takeLargest(logits, limit);
      list.sort();
      assertThat(list.count()).isEqualTo(Math.min(limit, vocabulary));
      for (int i = 0; i < list.count(); i++) {
        assertThat(list.token(i)).isEqualTo(order[i]);
        assertThat(list.logit(i)).isEqualTo(logits[order[i]]);
      }
    }
    list.takeAtLeast(logits, 2.5);
    list.sort();
    long count = Arrays.stream(order).filter(i -> logits[i] >= 2.5).count();
    assertThat(list.count()).isEqualTo((int) count);
    for (int i = 0; i < count; i++) {
      assertThat(list.token(i)).isEqualTo(order[i]);
    }
  }
}
