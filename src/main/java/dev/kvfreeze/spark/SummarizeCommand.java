package dev.kvfreeze.spark;

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
  @Mixin private InferenceOptions options;

  @Override
  public Integer call() {
    return options.run("summarize", Map.of(), Map.of());
  }
}
