package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.AdaptiveOptions;
import dev.kvfreeze.freeze.FreezeCap;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The baselines that choose the pages of every decode step, with the real models. */
class ChoosingPoliciesTest {
  private static final int FED = 24;

  /** Of the full cache, by setup: several tests compare with the same. */
  private static final Map<String, Run> FULL_RUNS = new HashMap<>();

  private static LanguageModel model;
  private static PolicyTrials trials;

  @BeforeAll
  static void open() {
    model = RealModels.smolLm2();
    trials = new PolicyTrials(model, CpuDevice.open(2), 128);
  }

  @AfterAll
  static void close() {
    FULL_RUNS.clear();
    trials.close();
    model.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"quest", "arkvale", "oracle"})
  void withRoomForAllPagesTheyAreTheFullCacheToTheBit(String policy) {
    for (int pageTokens : new int[] {7, 16}) {
      Run full = run(trials, model, "full", "none", pageTokens);
      Run all = run(trials, model, policy, "none", pageTokens);
      assertThat(all.sameAs(full)).as("pages of %d", pageTokens).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"quest", "oracle"})
  void selectionFreesNothingAndAttendsToTheCap(String policy) {
    Run full = run(trials, model, "full", "none", 16);
    Run run = run(trials, model, policy, "25%", 16);
    GenerationStatistics statistics = run.generation.statistics();
    assertThat(run.sameAs(full)).isFalse();
    assertThat(statistics.peakResidentKvBytes()).isGreaterThanOrEqualTo(statistics.fullKvBytes());
    assertThat(statistics.thawedPages()).isZero();
    // Two layers of thirty attend to all under quest.
    assertThat(statistics.meanActiveTokens()).isBetween(100.0, 0.35 * 700);
  }

  @Test
  void arkvaleKeepsToItsCapBoxesIncludedAndRecalls() {
    Run run = run(trials, model, "arkvale", "25%", 16);
    GenerationStatistics statistics = run.generation.statistics();
    double share = (double) statistics.peakResidentKvBytes() / statistics.fullKvBytes();
    assertThat(share).isBetween(0.15, 0.28);
    assertThat(statistics.thawedPages()).isPositive();
  }

  @ParameterizedTest
  @ValueSource(strings = {"quest", "arkvale", "oracle"})
  void slidingWindowsAreRespected(String policy) {
    try (LanguageModel gemma = RealModels.gemma3();
        PolicyTrials own = new PolicyTrials(gemma, CpuDevice.open(2), 128)) {
      Run full = run(own, gemma, "full", "none", 16);
      assertThat(run(own, gemma, policy, "none", 16).sameAs(full)).isTrue();
      assertThat(divergence(full, run(own, gemma, policy, "40%", 16))).isBetween(0.0, 1.0);
    }
  }

  /** Kullback-Leibler, mean over the fed tokens, in nats. */
  private static double divergence(Run expected, Run run) {
    double sum = 0;
    for (int i = 0; i < FED; i++) {
      float[] p = expected.logits.get(i);
      float[] q = run.logits.get(i);
      double pTotal = 0;
      double qTotal = 0;
      for (int t = 0; t < p.length; t++) {
        pTotal += Math.exp(p[t]);
        qTotal += Math.exp(q[t]);
      }
      for (int t = 0; t < p.length; t++) {
        sum += Math.exp(p[t]) / pTotal * (p[t] - Math.log(pTotal) - q[t] + Math.log(qTotal));
      }
    }
    return sum / FED;
  }

  private record Run(Generation generation, List<float[]> logits) {
    /** To the bit; the arrays are too long to print. */
    boolean sameAs(Run other) {
      return Arrays.deepEquals(logits.toArray(), other.logits.toArray());
    }
  }

  private static Run run(
      PolicyTrials trials, LanguageModel model, String policy, String cap, int pageTokens) {
    if (!policy.equals("full")) {
      return newRun(trials, model, policy, cap, pageTokens);
    }
    String setup = model.name() + ", " + cap + ", " + pageTokens;
    return FULL_RUNS.computeIfAbsent(
        setup, unused -> newRun(trials, model, policy, cap, pageTokens));
  }

  private static Run newRun(
      PolicyTrials trials, LanguageModel model, String policy, String cap, int pageTokens) {
    int[] text = RealModels.textTokens(model, 0, 700 + FED);
    int[] prompt = Arrays.copyOf(text, 700);
    int[] forced = Arrays.copyOfRange(text, 700, 700 + FED);
    PolicyOptions options =
        PolicyOptions.defaults()
            .withPageTokens(pageTokens)
            .withAdaptive(
                AdaptiveOptions.defaults()
                    .withCap(FreezeCap.parse(cap))
                    .withLeastTokens(0)
                    .withWholeTokens(0));
    List<float[]> logits = new ArrayList<>();
    Generation generation =
        trials.force(
            new PolicySetup(FreezePolicies.create(policy, options), KvFormat.BF16, pageTokens),
            new GenerationRequest(policy, prompt, FED, SamplingOptions.GREEDY, List.of(), 0, 0),
            null,
            forced,
            (statistics, row, usage) -> logits.add(row.clone()));
    return new Run(generation, logits);
  }
}
