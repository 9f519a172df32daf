package dev.kvfreeze.spark;

import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.evaluation.EvaluationJob;
import dev.kvfreeze.spark.evaluation.EvaluationOptions;
import dev.kvfreeze.spark.job.Console;
import dev.kvfreeze.spark.job.ExitCode;
import dev.kvfreeze.spark.job.JobFailure;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Compares cache policies on long-context tasks. */
@Command(
    name = "evaluate",
    description =
        "Compares cache policies with the full cache: RULER's tasks, passkey, needle grid,"
            + " summaries, perplexity.",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    footer = ExitCodes.TEXT)
final class EvaluateCommand implements Callable<Integer> {
  @Option(
      names = "--output",
      required = true,
      paramLabel = "PATH",
      description = "Folder of the table trials/: a new one, or one to go on with.")
  private String output;

  @Option(names = "--model", paramLabel = "MODEL", description = "As for the other jobs.")
  private String model;

  @Option(
      names = "--suite",
      defaultValue = "short",
      paramLabel = "short|full",
      description = "About ten minutes or three hours on two cores. Default: ${DEFAULT-VALUE}.")
  private String suite;

  @Option(
      names = "--policies",
      defaultValue = "full;adaptive;window:policy.cap=12%;snapkv",
      paramLabel = "LIST",
      description =
          "Separated by semicolons, each NAME or NAME:KEY=VALUE:KEY=VALUE; the first is the"
              + " control. Default: ${DEFAULT-VALUE}.")
  private String policies;

  @Option(
      names = "--tasks",
      split = ",",
      paramLabel = "NAMES",
      description = "Instead of the suite's, and perplexity.")
  private List<String> tasks;

  @Option(
      names = "--lengths",
      split = ",",
      paramLabel = "TOKENS",
      description = "Instead of the suite's.")
  private List<Integer> lengths;

  @Option(
      names = "--samples",
      defaultValue = "0",
      paramLabel = "N",
      description = "Of each task and length; 0 for the suite's.")
  private int samples;

  @Option(
      names = "--first-seed",
      defaultValue = "0",
      paramLabel = "N",
      description =
          "Of the first example of each task and length, the others follow: examples that no"
              + " setting was chosen by. Default: ${DEFAULT-VALUE}.")
  private long firstSeed;

  @Option(
      names = "--question",
      defaultValue = "agnostic",
      paramLabel = "agnostic|aware",
      description =
          "Whether the question is known when a policy freezes. Default: ${DEFAULT-VALUE}.")
  private String question;

  @Option(names = "--threads", paramLabel = "N", description = "Threads of an executor's CPU.")
  private String threads;

  @Option(
      names = "--set",
      paramLabel = "KEY=VALUE",
      description = "Any setting of conf/README.md, for all policies.")
  private Map<String, String> set = new LinkedHashMap<>();

  @Override
  public Integer call() {
    if (!List.of("agnostic", "aware").contains(question)) {
      throw new JobFailure(
          ExitCode.USAGE,
          "--question is '%s', it must be agnostic or aware".formatted(question),
          null);
    }
    Map<String, String> settings = new LinkedHashMap<>(set);
    if (model != null) {
      settings.put(Knobs.MODEL.name(), model);
    }
    if (threads != null) {
      settings.put(Knobs.THREADS.name(), threads);
    }
    if (firstSeed < 0) {
      throw new JobFailure(
          ExitCode.USAGE, "--first-seed is %d, it must be 0 or more".formatted(firstSeed), null);
    }
    EvaluationOptions options =
        new EvaluationOptions(
            output, suite, tasks, lengths, samples, firstSeed, policies, question, settings);
    new EvaluationJob(options, new Console(System.err, System.out)).run();
    return 0;
  }
}
