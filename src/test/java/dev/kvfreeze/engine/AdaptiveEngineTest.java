package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.AdaptiveOptions;
import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.ExpectedLengths;
import dev.kvfreeze.freeze.FreezeCap;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.PrefillMode;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The policy {@code adaptive} with the real model: exact prefill, bounded memory, recall. */
class AdaptiveEngineTest {
  private static final int CHUNK = 128;
  private static LanguageModel model;
  private static PolicyTrials trials;

  @BeforeAll
  static void open() {
    model = RealModels.smolLm2();
    trials = new PolicyTrials(model, CpuDevice.open(2), CHUNK);
  }

  @AfterAll
  static void close() {
    trials.close();
    model.close();
  }

  @ParameterizedTest
  @CsvSource({"1, BF16", "7, BF16", "16, BF16", "16, INT8"})
  void aPromptThatPassesThroughIsReadAsByTheFullCacheToTheBit(int pageTokens, KvFormat format) {
    int[] prompt = RealModels.textTokens(model, 0, 5 * CHUNK + 29);
    GenerationRequest request = request(prompt, 1);
    List<float[]> first = new ArrayList<>();
    for (String policy : List.of("full", "adaptive")) {
      Generation generation =
          trials.force(
              setup(policy, "20%", pageTokens, format),
              request,
              null,
              new int[] {1},
              (statistics, logits, usage) -> first.add(logits.clone()));
      long full = generation.statistics().fullKvBytes();
      long peak = generation.statistics().peakResidentKvBytes();
      if (policy.equals("adaptive")) {
        assertThat(peak).isLessThan((long) (0.4 * full));
      } else {
        long whole = format == KvFormat.INT8 ? full * 9 / 16 : full;
        assertThat(peak).isBetween(whole, (long) (1.05 * whole));
      }
    }
    assertThat(first.get(1)).isEqualTo(first.get(0));
  }

  @Test
  void withoutACapNothingIsFrozenAndTheTextIsTheFullCaches() {
    int[] prompt = RealModels.textTokens(model, 0, 3 * CHUNK);
    Generation full = generate("full", "none", request(prompt, 40));
    Generation adaptive = generate("adaptive", "none", request(prompt, 40));
    assertThat(adaptive.tokens()).isEqualTo(full.tokens());
    assertThat(adaptive.statistics().frozenPages()).isZero();
    assertThat(adaptive.statistics().meanEntropy()).isEqualTo(full.statistics().meanEntropy());
  }

  @Test
  void aShortContextIsLeftAloneAndALongerOneIsFrozen() {
    FreezePolicy policy =
        FreezePolicies.create(
            "adaptive",
            PolicyOptions.defaults()
                .withAdaptive(
                    AdaptiveOptions.defaults()
                        .withLeastTokens(0)
                        .withWholeTokens(400)
                        .withCap(FreezeCap.parse("40%"))));
    PolicySetup setup = new PolicySetup(policy, KvFormat.BF16, 16);
    int[] prompt = RealModels.textTokens(model, 0, 2 * CHUNK);
    Generation shorter = run(setup, request(prompt, 20));
    assertThat(shorter.tokens()).isEqualTo(generate("full", "none", request(prompt, 20)).tokens());
    assertThat(shorter.statistics().frozenPages()).isZero();
    assertThat(shorter.statistics().bytesToCold()).isZero();
    assertThat(shorter.statistics().peakResidentKvBytes())
        .isEqualTo(
            generate("full", "none", request(prompt, 20)).statistics().peakResidentKvBytes());

    // It wakes while it generates, some steps before the first page must go.
    Generation longer = run(setup, request(prompt, 300));
    Generation full = generate("full", "none", request(prompt, 300));
    int same = 400 - 2 * CHUNK - 3 * 16;
    assertThat(longer.tokens()).startsWith(Arrays.copyOf(full.tokens(), same));
    assertThat(longer.statistics().frozenPages()).isPositive();
    long perToken = full.statistics().fullKvBytes() / (prompt.length + full.tokens().length);
    // Sketches are made before pages go, in blocks of 64 tokens, one of them ahead.
    assertThat(longer.statistics().peakResidentKvBytes())
        .isLessThan((long) (1.06 * 400 * perToken));

    int[] passing = RealModels.textTokens(model, 0, 6 * CHUNK);
    GenerationStatistics read = run(setup, request(passing, 8)).statistics();
    assertThat(read.peakResidentKvBytes()).isLessThan((long) (0.43 * read.fullKvBytes()));
    CacheShape shape =
        new CacheShape(model.spec().layers().size(), model.spec().kvHeads(), 16, 4096, 11);
    assertThat(read.peakActiveTokens())
        .isLessThanOrEqualTo(
            policy.peakActiveTokens(new ExpectedLengths(6 * CHUNK, 8, CHUNK), shape));
  }

  private static Generation run(PolicySetup setup, GenerationRequest request) {
    return trials.generate(setup, request, null, PolicyTrials.Decision.EACH_CHUNK);
  }

  @ParameterizedTest
  @EnumSource(
      value = KvFormat.class,
      names = {"BF16", "INT8"})
  void keepsToItsCapWhileItGeneratesAndRecallsPages(KvFormat format) {
    int[] prompt = RealModels.textTokens(model, 0, 10 * CHUNK);
    PolicySetup setup = setup("adaptive", "20%", 16, format);
    Generation generation = run(setup, request(prompt, 60));
    GenerationStatistics statistics = generation.statistics();
    assertThat(statistics.thawedPages()).isPositive();
    assertThat(statistics.peakResidentKvBytes())
        .isLessThan((long) (0.215 * statistics.fullKvBytes()));
    assertThat(statistics.meanResidentKvBytes())
        .isGreaterThan((long) (0.15 * statistics.fullKvBytes()));
    Generation again = run(setup, request(prompt, 60));
    assertThat(again.tokens()).isEqualTo(generation.tokens());
  }

  @Test
  void frozenPrefillKeepsToItsCapAndAChunkFromTheStart() {
    int[] prompt = RealModels.textTokens(model, 0, 12 * CHUNK);
    AdaptiveOptions adaptive =
        AdaptiveOptions.defaults()
            .withLeastTokens(0)
            .withWholeTokens(0)
            .withCap(FreezeCap.parse("160"))
            .withPrefill(PrefillMode.FROZEN);
    PolicyOptions options = PolicyOptions.defaults().withAdaptive(adaptive);
    FreezePolicy policy = FreezePolicies.create("adaptive", options);
    GenerationRequest request = request(prompt, 20);
    PolicySetup setup = new PolicySetup(policy, KvFormat.BF16, 16);
    Generation generation = trials.generate(setup, request, null, PolicyTrials.Decision.EACH_CHUNK);
    GenerationStatistics statistics = generation.statistics();
    assertThat(statistics.frozenPages()).isPositive();
    assertThat(statistics.thawedPages()).isPositive();
    assertThat(statistics.peakActiveTokens()).isLessThanOrEqualTo(160 + CHUNK + 2 * 16);
    CacheShape shape =
        new CacheShape(model.spec().layers().size(), model.spec().kvHeads(), 16, 4096, 11);
    ExpectedLengths lengths = new ExpectedLengths(prompt.length, 20, CHUNK);
    assertThat(statistics.peakActiveTokens())
        .isLessThanOrEqualTo(policy.peakActiveTokens(lengths, shape));
    Generation again = trials.generate(setup, request, null, PolicyTrials.Decision.EACH_CHUNK);
    assertThat(again.tokens()).isEqualTo(generation.tokens());
  }

  private static Generation generate(String policy, String cap, GenerationRequest request) {
    return run(setup(policy, cap, 16, KvFormat.BF16), request);
  }

  private static PolicySetup setup(String policy, String cap, int pageTokens, KvFormat format) {
    PolicyOptions options =
        PolicyOptions.defaults()
            .withPageTokens(pageTokens)
            .withAdaptive(
                AdaptiveOptions.defaults()
                    .withLeastTokens(0)
                    .withWholeTokens(0)
                    .withCap(FreezeCap.parse(cap)));
    return new PolicySetup(FreezePolicies.create(policy, options), format, pageTokens);
  }

  private static GenerationRequest request(int[] prompt, int newTokens) {
    return new GenerationRequest(
        "adaptive", prompt, newTokens, SamplingOptions.GREEDY, List.of(), 0);
  }
}
