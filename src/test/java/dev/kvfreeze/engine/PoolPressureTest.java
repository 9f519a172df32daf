package dev.kvfreeze.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.AdaptiveOptions;
import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.CapShare;
import dev.kvfreeze.freeze.ExpectedLengths;
import dev.kvfreeze.freeze.FreezeCap;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.SequencePolicy;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Where the pool is too small for the cap: freeze deeper, then wait, and never fail. */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class PoolPressureTest {
  private static LanguageModel model;

  @BeforeAll
  static void open() {
    model = RealModels.smolLm2();
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static FreezePolicy adaptive(String cap) {
    AdaptiveOptions adaptive =
        AdaptiveOptions.defaults()
            .withLeastTokens(0)
            .withWholeTokens(0)
            .withCap(FreezeCap.parse(cap));
    return FreezePolicies.create("adaptive", PolicyOptions.defaults().withAdaptive(adaptive));
  }

  private static Engine engine(FreezePolicy policy, long poolBytes) {
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 16, poolBytes, 1L << 30, null, 128, 3, 2048);
    return Engines.open(model, CpuDevice.open(2), options, policy);
  }

  @Test
  void aDocumentThatDoesNotFitAtItsCapIsReadUnderASmallerOne() throws Exception {
    long pool = 8L << 20;
    int[] prompt = RealModels.textTokens(model, 0, 900);
    try (Engine engine = engine(adaptive("60%"), pool)) {
      Generation generation = engine.submit(RealModels.request("large", prompt, 24)).get();

      assertThat(generation.tokens()).isNotEmpty();
      GenerationStatistics statistics = generation.statistics();
      assertThat(statistics.fullKvBytes() * 0.6).isGreaterThan(pool);
      assertThat(statistics.peakResidentKvBytes()).isLessThanOrEqualTo(pool);
      assertThat(statistics.meanResidentKvBytes()).isGreaterThan(pool / 2);
      assertThat(generation.notes()).singleElement().asString().contains("cache.poolBytes");
    }
  }

  /** Tokens of prompts that were read for three documents that grow beyond the pool together. */
  private static long promptTokensRead(FreezePolicy policy) throws Exception {
    try (Engine engine = engine(policy, 11L << 20)) {
      List<CompletableFuture<Generation>> results = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        int[] prompt = RealModels.textTokens(model, 200 * i, 256);
        results.add(engine.submit(RealModels.request("document-" + i, prompt, 80)));
      }
      for (CompletableFuture<Generation> result : results) {
        assertThat(result.get().tokens()).isNotEmpty();
      }
      return engine.progress().promptTokens();
    }
  }

  @Test
  void documentsThatOutgrowThePoolFreezeDeeperBeforeOneStartsOver() throws Exception {
    assertThat(promptTokensRead(new TooHopeful(adaptive("65%"), true))).isEqualTo(3 * 256);
    assertThat(promptTokensRead(new TooHopeful(adaptive("65%"), false))).isGreaterThan(3 * 256);
  }

  /** Predicts too little, so that admission lets too many in. */
  private record TooHopeful(FreezePolicy policy, boolean tightens) implements FreezePolicy {
    @Override
    public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
      return 64;
    }

    @Override
    public String name() {
      return policy.name();
    }

    @Override
    public boolean wantsMass(StepKind kind) {
      return policy.wantsMass(kind);
    }

    @Override
    public int sketchPlanes() {
      return policy.sketchPlanes();
    }

    @Override
    public int observedTokens(int promptTokens, CacheShape shape) {
      return policy.observedTokens(promptTokens, shape);
    }

    @Override
    public FreezePolicy sharing(CapShare share) {
      return new TooHopeful(policy.sharing(share), tightens);
    }

    @Override
    public SequencePolicy sequence(CacheShape shape) {
      return policy.sequence(shape);
    }
  }
}
