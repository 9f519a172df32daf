package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.cache.PoolExhaustedException;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The engine on the real small model: what it generates, and what it does when it cannot. */
@Timeout(value = 5, unit = TimeUnit.MINUTES)
class BatchEngineTest {
  private static LanguageModel model;

  @BeforeAll
  static void open() {
    model = RealModels.smolLm2();
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static List<Generation> generate(
      String policy, EngineOptions options, List<GenerationRequest> requests) throws Exception {
    try (Engine engine = RealModels.engine(model, policy, options)) {
      List<CompletableFuture<Generation>> futures = requests.stream().map(engine::submit).toList();
      List<Generation> results = new ArrayList<>();
      for (CompletableFuture<Generation> future : futures) {
        results.add(future.get());
      }
      return results;
    }
  }

  private static List<GenerationRequest> requests(int count) {
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      requests.add(
          RealModels.request(
              "document-" + i, RealModels.textTokens(model, 37 * i, 40 + 61 * i), 24));
    }
    return requests;
  }

  @Test
  void aBatchOfEightGeneratesWhatEachGeneratesAlone() throws Exception {
    List<GenerationRequest> requests = requests(8);

    List<Generation> together = generate("full", RealModels.options(16, 8), requests);
    List<Generation> alone = generate("full", RealModels.options(16, 1), requests);

    for (int i = 0; i < requests.size(); i++) {
      assertThat(together.get(i).tokens()).as("document %d", i).isEqualTo(alone.get(i).tokens());
      assertThat(together.get(i).statistics().meanEntropy())
          .isEqualTo(alone.get(i).statistics().meanEntropy());
    }
  }

  @Test
  void theFullPolicyKeepsEveryTokenActive() throws Exception {
    Generation generation =
        generate("full", RealModels.options(16, 1), requests(2).subList(1, 2)).get(0);

    GenerationStatistics statistics = generation.statistics();
    assertThat(statistics.frozenPages()).isZero();
    assertThat(statistics.bytesToCold()).isZero();
    StepRecord last = generation.steps().get(generation.steps().size() - 1);
    assertThat(last.activeTokens()).isEqualTo(last.contextTokens());
    assertThat(last.frozenTokens()).isZero();
    assertThat(statistics.peakResidentKvBytes()).isGreaterThanOrEqualTo(statistics.fullKvBytes());
  }

  @Test
  void theWindowPolicyBoundsTheActiveTokens() throws Exception {
    List<GenerationRequest> long1 =
        List.of(RealModels.request("long", RealModels.textTokens(model, 0, 1500), 16));

    Generation generation = generate("window", RealModels.options(16, 1), long1).get(0);

    StepRecord last = generation.steps().get(generation.steps().size() - 1);
    assertThat(last.activeTokens()).isLessThan(last.contextTokens() / 2.0);
    assertThat(last.activeTokens() + last.frozenTokens()).isEqualTo(last.contextTokens());
    assertThat(generation.statistics().peakActiveTokens()).isLessThan(1500);
    assertThat(generation.statistics().frozenPages()).isPositive();
  }

  @Test
  void thePaperPolicyFreezesWhileItGeneratesAndThawsByTimer() throws Exception {
    List<GenerationRequest> requests =
        List.of(RealModels.request("paper", RealModels.textTokens(model, 0, 100), 160));

    Generation generation = generate("paper", RealModels.options(1, 1), requests).get(0);

    GenerationStatistics statistics = generation.statistics();
    assertThat(statistics.frozenPages()).isPositive();
    assertThat(statistics.thawedPages()).isPositive();
    assertThat(statistics.bytesFromCold()).isPositive();
    assertThat(statistics.meanActiveTokens()).isLessThan(statistics.peakActiveTokens());
  }

  @Test
  void aPromptThatFillsTheContextIsRefusedByName() throws Exception {
    int[] prompt = RealModels.textTokens(model, 0, 64);
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 16, 1L << 28, 1L << 28, null, 128, 1, 64);
    try (Engine engine = RealModels.engine(model, "full", options)) {
      assertThatThrownBy(() -> engine.submit(RealModels.request("too-long", prompt, 8)).get())
          .hasRootCauseInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("too-long")
          .hasMessageContaining("64");
    }
  }

  @Test
  void theContextEndsAGenerationThatWouldRunOver() throws Exception {
    int[] prompt = RealModels.textTokens(model, 0, 60);
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 16, 1L << 28, 1L << 28, null, 128, 1, 64);

    Generation generation =
        generate("full", options, List.of(RealModels.request("edge", prompt, 8))).get(0);

    assertThat(generation.tokens()).hasSizeLessThanOrEqualTo(4);
    assertThat(generation.finishReason()).isEqualTo(FinishReason.CONTEXT);
  }

  @Test
  void aDocumentLargerThanThePoolFailsAloneAndTheOthersGoOn() throws Exception {
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 16, 8L << 20, 1L << 28, null, 128, 4, 2048);
    try (Engine engine = RealModels.engine(model, "full", options)) {
      CompletableFuture<Generation> large =
          engine.submit(RealModels.request("large", RealModels.textTokens(model, 0, 1500), 8));
      CompletableFuture<Generation> small =
          engine.submit(RealModels.request("small", RealModels.textTokens(model, 0, 50), 8));

      assertThatThrownBy(large::get)
          .hasRootCauseInstanceOf(PoolExhaustedException.class)
          .hasMessageContaining("large")
          .hasMessageContaining("cache.poolBytes");
      assertThat(small.get().tokens()).isNotEmpty();
    }
  }

  @Test
  void documentsWaitForRoomInASmallPoolAndAllFinish() throws Exception {
    // About 300 tokens of all heads: the eight documents cannot run at once.
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 16, 16L << 20, 1L << 28, null, 128, 8, 2048);

    List<Generation> results = generate("full", options, requests(8));

    assertThat(results).hasSize(8).allSatisfy(g -> assertThat(g.tokens()).isNotEmpty());
  }

  @Test
  void cancellingAResultFreesTheEngine() throws Exception {
    try (Engine engine = RealModels.engine(model, "full", RealModels.options(16, 1))) {
      CompletableFuture<Generation> cancelled =
          engine.submit(RealModels.request("gone", RealModels.textTokens(model, 0, 100), 1900));
      cancelled.cancel(true);
      Generation next =
          engine
              .submit(RealModels.request("next", RealModels.textTokens(model, 0, 20), 4))
              .get(60, TimeUnit.SECONDS);

      assertThat(next.tokens()).isNotEmpty();
    }
  }

  @Test
  void closingFailsWhatIsStillRunning() throws Exception {
    Engine engine = RealModels.engine(model, "full", RealModels.options(16, 1));
    CompletableFuture<Generation> result =
        engine.submit(RealModels.request("running", RealModels.textTokens(model, 0, 100), 1900));
    engine.close();
    engine.close();

    assertThat(result).isCompletedExceptionally();
    assertThat(engine.submit(RealModels.request("late", new int[] {1, 2}, 4)))
        .isCompletedExceptionally();
  }

  @Test
  void aStopStringEndsTheTextBeforeIt() throws Exception {
    int[] prompt = RealModels.textTokens(model, 0, 80);
    Generation free =
        generate("full", RealModels.options(16, 1), List.of(RealModels.request("a", prompt, 40)))
            .get(0);
    String stop = free.text().substring(free.text().length() / 2, free.text().length() / 2 + 6);
    GenerationRequest request =
        new GenerationRequest("a", prompt, 40, SamplingOptions.GREEDY, List.of(stop), 0);

    Generation stopped = generate("full", RealModels.options(16, 1), List.of(request)).get(0);

    assertThat(stopped.finishReason()).isEqualTo(FinishReason.STOP_STRING);
    assertThat(stopped.text()).isEqualTo(free.text().substring(0, free.text().indexOf(stop)));
  }

  @Test
  void samplingWithASeedIsTheSameInAnyBatch() throws Exception {
    SamplingOptions sampling = new SamplingOptions(0.8f, 40, 0.95f, 0.02f, 1.1f, 64, 7);
    List<GenerationRequest> requests =
        requests(4).stream()
            .map(
                r ->
                    new GenerationRequest(
                        r.id(), r.promptTokens(), r.maxNewTokens(), sampling, List.of(), 0))
            .toList();

    List<Generation> together = generate("full", RealModels.options(16, 4), requests);
    List<Generation> alone = generate("full", RealModels.options(16, 1), requests);

    for (int i = 0; i < requests.size(); i++) {
      assertThat(together.get(i).tokens()).isEqualTo(alone.get(i).tokens());
    }
  }
}
