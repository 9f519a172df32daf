package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.KvFormat;
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
 * The same documents through the whole engine with the full cache and with freezing, equal memory.
 */
final class FreezingStage implements Stage {
  private static final int DOCUMENTS = 24;
  private static final int PROMPT = 6000;
  private static final int NEW_TOKENS = 256;

  @Override
  public String name() {
    return "freezing on and off at equal memory";
  }

  @Override
  public List<String> run(CheckSetup setup) throws Exception {
    List<String> lines = new ArrayList<>();
    try (LanguageModel model = LanguageModels.open(setup.models().get(0))) {
      int[] tokens = model.tokenizer().encode(setup.text(), SpecialTokens.AS_TEXT);
      int prompt = Math.min(tokens.length, 200 + setup.scaled(PROMPT));
      int documents = 1 + setup.scaled(DOCUMENTS);
      int newTokens = 4 + setup.scaled(NEW_TOKENS);
      long full =
          4L
              * model.spec().layers().size()
              * model.spec().kvHeads()
              * model.spec().headSize()
              * (prompt + newTokens + 16);
      double[] seconds = new double[2];
      List<String> policies = List.of("full", "adaptive");
      for (int i = 0; i < 2; i++) {
        // Room for three full caches.
        seconds[i] =
            run(setup, model, policies.get(i), tokens, prompt, documents, newTokens, 3 * full);
        lines.add(
            "%s: %s, %d documents of %,d + %d tokens in %.1f s, %.0f documents an hour"
                .formatted(
                    model.name(),
                    policies.get(i),
                    documents,
                    prompt,
                    newTokens,
                    seconds[i],
                    3600 * documents / seconds[i]));
      }
      lines.add("freezing: %.2f times as many".formatted(seconds[0] / seconds[1]));
    }
    return lines;
  }

  private static double run(
      CheckSetup setup,
      LanguageModel model,
      String policy,
      int[] tokens,
      int prompt,
      int documents,
      int newTokens,
      long poolBytes)
      throws Exception {
    EngineOptions options =
        new EngineOptions(KvFormat.BF16, 16, poolBytes, 4L << 30, null, 1024, documents, 0);
    PolicyOptions policyOptions = PolicyOptions.defaults().withPageTokens(16);
    try (Engine engine =
        Engines.open(
            model, setup.devices().get(), options, FreezePolicies.create(policy, policyOptions))) {
      long start = System.nanoTime();
      List<CompletableFuture<Generation>> results = new ArrayList<>();
      for (int i = 0; i < documents; i++) {
        results.add(
            engine.submit(
                new GenerationRequest(
                    "document-" + i,
                    Arrays.copyOf(tokens, prompt),
                    newTokens,
                    SamplingOptions.GREEDY,
                    List.of(),
                    0)));
      }
      for (CompletableFuture<Generation> result : results) {
        result.get();
      }
      return (System.nanoTime() - start) / 1e9;
    }
  }
}
