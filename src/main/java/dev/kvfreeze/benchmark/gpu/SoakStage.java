package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.cuda.CudaDevice;
import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.engine.EngineOptions;
import dev.kvfreeze.engine.Engines;
import dev.kvfreeze.engine.Generation;
import dev.kvfreeze.engine.GenerationRequest;
import dev.kvfreeze.engine.SamplingOptions;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * Two thousand decode steps of documents that come and go, freezing into a pool that is much too
 * small for them: every document ends, twice with the same text, and nothing is left at close.
 */
final class SoakStage implements Stage {
  private static final int STEPS = 2000;
  private static final int BATCH = 6;

  /** Fewer active tokens than by default: more moves. */
  private static final int LEAST_TOKENS = 96;

  @Override
  public String name() {
    return STEPS + " decode steps with freezing in a tiny pool";
  }

  @Override
  public List<String> run(CheckSetup setup) throws Exception {
    try (LanguageModel model = LanguageModels.open(setup.models().get(0))) {
      int[] tokens = model.tokenizer().encode(setup.text(), SpecialTokens.AS_TEXT);
      List<Generation> first = soak(setup, model, tokens);
      List<Generation> second = soak(setup, model, tokens);
      long frozen = 0;
      long thawed = 0;
      for (int i = 0; i < first.size(); i++) {
        Stage.require(
            Arrays.equals(first.get(i).tokens(), second.get(i).tokens()),
            first.get(i).id() + " has other text in the second run");
        frozen += first.get(i).statistics().frozenPages();
        thawed += first.get(i).statistics().thawedPages();
      }
      Stage.require(frozen > 0, "nothing was frozen");
      return List.of(
          "%d documents ended alike in both runs; %,d pages frozen, %,d thawed"
              .formatted(first.size(), frozen, thawed));
    }
  }

  private static List<Generation> soak(CheckSetup setup, LanguageModel model, int[] tokens)
      throws Exception {
    int documents = 2 + setup.scaled(2 * BATCH - 2);
    int newTokens = Math.max(4, setup.scaled(STEPS) * BATCH / documents);
    int longest = Math.min(tokens.length, 200 + setup.scaled(3000));
    // All full caches together would need many times as much.
    long perToken =
        4L * model.spec().layers().size() * model.spec().kvHeads() * model.spec().headSize();
    long poolBytes = perToken * (longest + newTokens) * 2;
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 8, poolBytes, 1L << 30, null, 128, BATCH, 0);
    PolicyOptions defaults = PolicyOptions.defaults().withPageTokens(8);
    PolicyOptions policy =
        defaults.withAdaptive(defaults.adaptive().withLeastTokens(LEAST_TOKENS).withWholeTokens(0));
    CudaDevice device = setup.devices().get();
    try (Engine engine =
        Engines.open(model, device, options, FreezePolicies.create("adaptive", policy))) {
      List<CompletableFuture<Generation>> results = new ArrayList<>();
      for (int i = 0; i < documents; i++) {
        int length = Math.max(50, longest - i * longest / (documents + 2));
        results.add(
            engine.submit(
                new GenerationRequest(
                    "soak-" + i,
                    Arrays.copyOf(tokens, length),
                    newTokens,
                    SamplingOptions.GREEDY,
                    List.of(),
                    0)));
      }
      List<Generation> generations = new ArrayList<>();
      for (CompletableFuture<Generation> result : results) {
        generations.add(result.get());
      }
      return generations;
    }
  }
}
