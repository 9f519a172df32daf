package dev.kvfreeze.spark;

import dev.kvfreeze.spark.conf.Knobs;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** The main job: a summary of each document. */
@Command(
    name = "summarize",
    description = "Summarises each document.",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    footer = ExitCodes.TEXT)
final class SummarizeCommand implements Callable<Integer> {
  /** Small models repeat themselves over long documents; a slight penalty stops it. */
  private static final Map<String, String> DEFAULTS =
      Map.of(Knobs.REPETITION_PENALTY.name(), "1.05");

  @Mixin private InferenceOptions options;

  @Override
  public Integer call() {
    return options.run("summarize", Map.of(), DEFAULTS);
  }
}
