package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.engine.PolicyTrials;
import dev.kvfreeze.eval.Haystack;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.plugin.ModelFiles;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/**
 * The model of this executor, for trials: one a JVM, opened by the first task and kept until the
 * JVM ends. Tasks take turns with it, since each uses all threads.
 */
final class ExecutorTrials {
  private static final String[] PROSE = {
    "austen-persuasion-opening.txt",
    "austen-northanger-abbey-opening.txt",
    "melville-moby-dick-loomings.txt",
    "melville-moby-dick-cetology.txt"
  };

  private static ExecutorTrials current;

  private final String modelHash;
  private final PolicyTrials trials;
  private final List<String> prose;
  private final Haystack haystack;

  private ExecutorTrials(Settings settings, Configuration hadoop) {
    LanguageModel model = LanguageModels.open(ModelFiles.find(settings, hadoop));
    int threads = settings.value(Knobs.THREADS);
    int available = Runtime.getRuntime().availableProcessors();
    this.modelHash = model.hash();
    this.trials =
        new PolicyTrials(
            model,
            CpuDevice.open(threads == 0 ? available : threads, settings.value(Knobs.PRECISION)),
            settings.value(Knobs.PREFILL_CHUNK));
    this.prose = prose();
    this.haystack = new Haystack(prose);
  }

  /** Uses the executor's trials; one task at a time. */
  static <T> T use(Settings settings, String modelHash, Configuration hadoop, Use<T> use)
      throws IOException {
    synchronized (ExecutorTrials.class) {
      if (current != null && !current.modelHash.equals(modelHash)) {
        current.trials.close();
        current.trials.model().close();
        current = null;
      }
      if (current == null) {
        current = new ExecutorTrials(settings, hadoop);
      }
      return use.apply(current);
    }
  }

  /** What a task does. */
  @FunctionalInterface
  interface Use<T> {
    T apply(ExecutorTrials trials) throws IOException;
  }

  PolicyTrials trials() {
    return trials;
  }

  Haystack haystack() {
    return haystack;
  }

  /** The prose of the haystack, text by text. */
  List<String> texts() {
    return prose;
  }

  /** The same, read from the jar. */
  static List<String> prose() {
    List<String> texts = new ArrayList<>();
    for (String name : PROSE) {
      texts.add(resource(name));
    }
    return texts;
  }

  private static String resource(String name) {
    try (InputStream in = ExecutorTrials.class.getResourceAsStream("/samples/" + name)) {
      if (in == null) {
        throw new IllegalStateException("the jar lacks samples/" + name + "; build it again");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
