package dev.kvfreeze.spark;

import dev.kvfreeze.spark.conf.Knobs;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Continues or answers each document. */
@Command(
    name = "generate",
    description = "Gives each document to the model as it is.",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    footer = ExitCodes.TEXT)
final class GenerateCommand implements Callable<Integer> {
  @Mixin private InferenceOptions options;

  @Option(
      names = "--template",
      paramLabel = "auto|none",
      description =
          "auto: the document is the user's message in the model's chat template, where it has one."
              + " none: the document is the prompt, verbatim, special tokens read as such."
              + " Default: auto.")
  private String template;

  @Override
  public Integer call() {
    return options.run(
        "generate",
        template == null ? Map.of() : Map.of(Knobs.TEMPLATE.name(), template),
        Map.of(Knobs.PROMPT.name(), "plain"));
  }
}
