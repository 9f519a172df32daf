package dev.kvfreeze.engine;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** The two real models of the tests, which the build fetches, and real text to feed them. */
public final class RealModels {
  private RealModels() {}

  public static LanguageModel smolLm2() {
    return LanguageModels.open(file("SmolLM2-135M-Instruct.Q4_1.gguf"));
  }

  public static LanguageModel gemma3() {
    return LanguageModels.open(file("gemma-3-270m-Q4_K_M.gguf"));
  }

  /** A model file in the cache folder. */
  public static Path file(String name) {
    String cache = System.getenv("KVFREEZE_CACHE");
    Path root =
        cache == null
            ? Path.of(System.getProperty("user.home"), ".cache", "kvfreeze")
            : Path.of(cache);
    Path file = root.resolve("models").resolve(name);
    if (!Files.exists(file)) {
      throw new IllegalStateException(file + " is missing; run jobs/fetch-model");
    }
    return file;
  }

  /** The first {@code count} tokens of a shipped document, from {@code offset} on. */
  public static int[] textTokens(LanguageModel model, int offset, int count) {
    try {
      String text = Files.readString(Path.of("src/test/resources/reference/perplexity.txt"));
      int[] tokens = model.tokenizer().encode(text, SpecialTokens.AS_TEXT);
      return Arrays.copyOfRange(tokens, offset, offset + count);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public static EngineOptions options(int pageTokens, int maxBatch) {
    return new EngineOptions(
        KvFormat.BF16, pageTokens, 1L << 30, 2L << 30, null, 128, maxBatch, 2048);
  }

  public static Engine engine(LanguageModel model, String policy, EngineOptions options) {
    return Engines.open(
        model, options, PolicyOptions.defaults().withPageTokens(options.pageTokens()), policy, 2);
  }

  public static GenerationRequest request(String id, int[] prompt, int maxNewTokens) {
    return new GenerationRequest(id, prompt, maxNewTokens, SamplingOptions.GREEDY, List.of(), 1);
  }
}
