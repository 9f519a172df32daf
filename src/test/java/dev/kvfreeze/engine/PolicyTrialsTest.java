package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.cache.PrefilledContext;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Contexts that are read once, and the boundary between context and question. */
class PolicyTrialsTest {
  private static final int CHUNK = 64;
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

  @Test
  void aContextBoundaryOnAChunkBoundaryChangesNothing() throws Exception {
    int[] prompt = RealModels.textTokens(model, 0, 300);
    try (LanguageModel own = RealModels.smolLm2();
        Engine engine = RealModels.engine(own, "full", RealModels.options(16, 1))) {
      Generation whole = engine.submit(request(prompt, 24, 0)).get();
      // Chunks of 128: the boundary at 256 is one already.
      Generation split = engine.submit(request(prompt, 24, 256)).get();
      assertThat(split.tokens()).isEqualTo(whole.tokens());
      assertThat(split.statistics().meanEntropy()).isEqualTo(whole.statistics().meanEntropy());
      assertThatThrownBy(() -> engine.submit(request(prompt, 4, 300)).get())
          .hasMessageContaining("leave at least one for the question");
    }
  }

  @Test
  void chunksStopAtTheBoundary() {
    int[] prompt = RealModels.textTokens(model, 0, 200);
    Generation generation =
        trials.generate(
            setup("window", 8), request(prompt, 4, 70), null, PolicyTrials.Decision.EACH_CHUNK);
    // 64 + 6 tokens, then the question of 130 in chunks of 64, 64 and 2: at the third, the window
    // of 4 + 32 tokens, unaligned, and the chunk are there.
    assertThat(generation.statistics().peakActiveTokens()).isBetween(100.0, 120.0);
  }

  @Test
  void goingOnFromAPrefilledContextIsTheSameToTheBit() {
    int[] prompt = RealModels.textTokens(model, 100, 4 * CHUNK + 20);
    PrefilledContext context = trials.read(Arrays.copyOf(prompt, 4 * CHUNK), KvFormat.BF16);
    assertThat(context.tokens()).isEqualTo(4 * CHUNK);
    GenerationRequest request = request(prompt, 16, 4 * CHUNK);
    for (String policy : List.of("full", "paper")) {
      PolicySetup setup = setup(policy, 8);
      Generation alone = trials.generate(setup, request, null, PolicyTrials.Decision.EACH_CHUNK);
      Generation goingOn =
          trials.generate(setup, request, context, PolicyTrials.Decision.EACH_CHUNK);
      assertThat(goingOn.tokens()).as(policy).isEqualTo(alone.tokens());
      assertThat(goingOn.statistics().meanEntropy())
          .as(policy)
          .isEqualTo(alone.statistics().meanEntropy());
      assertThat(goingOn.statistics().peakResidentKvBytes())
          .isEqualTo(alone.statistics().peakResidentKvBytes());
      assertThat(goingOn.statistics().frozenPages()).isEqualTo(alone.statistics().frozenPages());
    }
  }

  @Test
  void everyPageSizeGoesOnFromTheSameContext() {
    int[] prompt = RealModels.textTokens(model, 0, 3 * CHUNK + 37);
    PrefilledContext context = trials.read(Arrays.copyOf(prompt, 3 * CHUNK + 17), KvFormat.BF16);
    GenerationRequest request = request(prompt, 12, 3 * CHUNK + 17);
    int[] expected = null;
    for (int pageTokens : new int[] {8, 1, 7, 16, 54}) {
      Generation generation =
          trials.generate(
              setup("full", pageTokens), request, context, PolicyTrials.Decision.EACH_CHUNK);
      expected = expected == null ? generation.tokens() : expected;
      assertThat(generation.tokens()).as("pages of %d", pageTokens).isEqualTo(expected);
    }
  }

  @Test
  void aWindowIsBoundedWhileReadingUnlessItDecidesAtTheEnd() {
    int[] prompt = RealModels.textTokens(model, 0, 6 * CHUNK + 10);
    PrefilledContext context = trials.read(Arrays.copyOf(prompt, 6 * CHUNK), KvFormat.BF16);
    GenerationRequest request = request(prompt, 4, 6 * CHUNK);
    Generation agnostic =
        trials.generate(setup("window", 8), request, context, PolicyTrials.Decision.EACH_CHUNK);
    Generation aware =
        trials.generate(setup("window", 8), request, context, PolicyTrials.Decision.AT_THE_END);
    assertThat(agnostic.statistics().peakActiveTokens()).isLessThan(2.0 * CHUNK);
    assertThat(aware.statistics().peakActiveTokens()).isEqualTo(prompt.length);
  }

  @Test
  void forcedTokensAreFedAndEachDistributionIsSeen() {
    int[] text = RealModels.textTokens(model, 0, 100);
    int[] prompt = Arrays.copyOf(text, 70);
    int[] forced = Arrays.copyOfRange(text, 70, 100);
    List<Integer> argmax = new ArrayList<>();
    Generation generation =
        trials.force(
            setup("full", 16),
            request(prompt, forced.length, 0),
            null,
            forced,
            (statistics, logits, usage) -> {
              assertThat(logits[statistics.argmax()]).isEqualTo(statistics.max());
              argmax.add(statistics.argmax());
            });
    assertThat(generation.tokens()).isEqualTo(forced);
    assertThat(argmax).hasSize(forced.length);
  }

  private static PolicySetup setup(String policy, int pageTokens) {
    return new PolicySetup(
        FreezePolicies.create(policy, PolicyOptions.defaults().withPageTokens(pageTokens)),
        KvFormat.BF16,
        pageTokens);
  }

  private static GenerationRequest request(int[] prompt, int newTokens, int contextTokens) {
    return new GenerationRequest(
        "trial", prompt, newTokens, SamplingOptions.GREEDY, List.of(), 0, contextTokens);
  }
}
