package dev.kvfreeze.spark;

import dev.kvfreeze.spark.conf.Knob;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.input.InputFormat;
import dev.kvfreeze.spark.input.InputOptions;
import dev.kvfreeze.spark.job.Console;
import dev.kvfreeze.spark.job.InferenceJob;
import dev.kvfreeze.spark.job.JobRequest;
import java.util.LinkedHashMap;
import java.util.Map;
import picocli.CommandLine.Option;

/** The options that the jobs with documents share. */
final class InferenceOptions {
  @Option(
      names = "--input",
      required = true,
      paramLabel = "PATH",
      description = "Documents: a file, folder or glob on any file system that Hadoop knows.")
  private String input;

  @Option(
      names = "--input-format",
      defaultValue = "auto",
      paramLabel = "FORMAT",
      description =
          "${COMPLETION-CANDIDATES}; text is a file a document, its id the file's name relative to"
              + " the input; auto goes by the files' endings. Default: ${DEFAULT-VALUE}.")
  private InputFormat inputFormat;

  @Option(
      names = "--id-column",
      defaultValue = "id",
      paramLabel = "NAME",
      description = "Of Parquet, JSON and CSV. Default: ${DEFAULT-VALUE}.")
  private String idColumn;

  @Option(
      names = "--text-column",
      defaultValue = "text",
      paramLabel = "NAME",
      description = "Of Parquet, JSON and CSV. Default: ${DEFAULT-VALUE}.")
  private String textColumn;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "PATH",
      description =
          "Folder of the tables generations/, steps/ and runs/: a new or empty one, or one of an"
              + " earlier run, of which only what is missing is done.")
  private String output;

  @Option(
      names = "--model",
      paramLabel = "MODEL",
      description =
          "A catalogue name, a path, a Hadoop address (hdfs, s3a) or hf://owner/name/file.gguf."
              + " Default: smollm2-135m-instruct.")
  private String model;

  @Option(
      names = "--policy",
      paramLabel = "NAME|FILE",
      description = "Cache policy: adaptive, full, paper, ... or a file as in conf/policies.")
  private String policy;

  @Option(
      names = "--max-new-tokens",
      paramLabel = "N",
      description = "Most tokens to generate for a document.")
  private String maxNewTokens;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "0 takes the most probable token.")
  private String temperature;

  @Option(names = "--seed", paramLabel = "N", description = "Seed of the random numbers.")
  private String seed;

  @Option(
      names = "--prompt",
      paramLabel = "NAME|FILE",
      description = "What is asked of each document: a file as in conf/prompts, with {document}.")
  private String prompt;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Threads an executor computes with on a CPU; 0 for its cores.")
  private String threads;

  @Option(
      names = "--set",
      paramLabel = "KEY=VALUE",
      description =
          "Any setting of conf/README.md, without the prefix spark.kvfreeze. May be repeated.")
  private Map<String, String> set = new LinkedHashMap<>();

  /** The folder of the result tables. */
  String output() {
    return output;
  }

  /** The policy as given, or the default's name. */
  String policyOrDefault() {
    return policy == null ? Knobs.POLICY.defaultText() : policy;
  }

  /** Runs the job; returns its exit code. */
  int run(String job, Map<String, String> moreOptions, Map<String, String> jobDefaults) {
    Map<String, String> options = new LinkedHashMap<>(set);
    put(options, Knobs.MODEL, model);
    put(options, Knobs.POLICY, policy);
    put(options, Knobs.MAX_NEW_TOKENS, maxNewTokens);
    put(options, Knobs.TEMPERATURE, temperature);
    put(options, Knobs.SEED, seed);
    put(options, Knobs.PROMPT, prompt);
    put(options, Knobs.THREADS, threads);
    options.putAll(moreOptions);
    JobRequest request =
        new JobRequest(
            job,
            new InputOptions(input, inputFormat, idColumn, textColumn),
            output,
            options,
            jobDefaults);
    return new InferenceJob(request, new Console(System.err, System.out)).run().code();
  }

  private static void put(Map<String, String> options, Knob<?> knob, String value) {
    if (value != null) {
      options.put(knob.name(), value);
    }
  }
}
