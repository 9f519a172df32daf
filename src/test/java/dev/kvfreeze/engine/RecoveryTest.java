package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.AdaptiveOptions;
import dev.kvfreeze.freeze.FreezeCap;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.GuardOptions;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The recovery ladder with the real model. */
class RecoveryTest {
  private static final GuardOptions OFTEN =
      new GuardOptions(GuardOptions.Mode.RANDOM, 0, 0, 16, 5, 6, 0.5);
  private static LanguageModel model;
  private static PolicyTrials trials;

  @BeforeAll
  static void open() {
    model = RealModels.smolLm2();
    trials = new PolicyTrials(model, CpuDevice.open(2), 128);
  }

  @AfterAll
  static void close() {
    trials.close();
    model.close();
  }

  /** With nothing frozen, what is generated again is the same, penalties and stops included. */
  @ParameterizedTest
  @CsvSource({"paper, 1.0, 0", "paper, 1.3, 0", "adaptive, 1.1, 0"})
  void rewalksOverAnUnfrozenCacheChangeNothing(String policy, float penalty, double threshold) {
    int[] prompt = RealModels.textTokens(model, 0, 150);
    SamplingOptions sampling = new SamplingOptions(0, 0, 1, 0, penalty, 64, 3);
    GenerationRequest request =
        new GenerationRequest("rewalk", prompt, 60, sampling, List.of("zzzz"), 4);
    Generation plain = run(policy, "none", threshold, GuardOptions.OFF, request);
    Generation guarded = run(policy, "none", threshold, OFTEN, request);
    assertThat(guarded.statistics().recoveries().rewalks()).isEqualTo(6);
    assertThat(guarded.statistics().recoveries().regeneratedTokens()).isPositive();
    assertThat(guarded.tokens()).isEqualTo(plain.tokens());
    assertThat(guarded.text()).isEqualTo(plain.text());
  }

  @Test
  void aFullResetUnderACapReadsAStepExactlyAndKeepsToTheCap() {
    int[] prompt = RealModels.textTokens(model, 0, 1200);
    GenerationRequest request =
        new GenerationRequest("reset", prompt, 40, SamplingOptions.GREEDY, List.of(), 1);
    Generation guarded = run("adaptive", "20%", 0, OFTEN, request);
    assertThat(guarded.tokens()).hasSize(40);
    assertThat(guarded.statistics().recoveries().fullResets()).isPositive();
    assertThat(guarded.statistics().peakResidentKvBytes())
        .isLessThan((long) (0.215 * guarded.statistics().fullKvBytes()));
    assertThat(guarded.steps().stream().map(StepRecord::recoveryLevel))
        .contains("none", "SR", "WR", "FR", "RR");
  }

  @Test
  void everyDocumentEndsUnderThePaperWithRecoveries() {
    int[] prompt = RealModels.textTokens(model, 300, 400);
    GenerationRequest request =
        new GenerationRequest("paper", prompt, 50, SamplingOptions.GREEDY, List.of(), 1);
    Generation guarded = run("paper", "none", 0.3, OFTEN, request);
    assertThat(guarded.tokens()).hasSize(50);
    assertThat(guarded.statistics().recoveries().total()).isPositive();
  }

  private static Generation run(
      String policy, String cap, double threshold, GuardOptions guard, GenerationRequest request) {
    int page = policy.equals("paper") ? 1 : 16;
    PolicyOptions options =
        new PolicyOptions(
            page,
            4,
            32,
            threshold,
            256,
            1,
            AdaptiveOptions.defaults()
                .withLeastTokens(0)
                .withWholeTokens(0)
                .withCap(FreezeCap.parse(cap)),
            guard);
    return trials.generate(
        new PolicySetup(FreezePolicies.create(policy, options), KvFormat.BF16, page),
        request,
        null,
        PolicyTrials.Decision.EACH_CHUNK);
  }
}
