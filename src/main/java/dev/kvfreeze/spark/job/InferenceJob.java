package dev.kvfreeze.spark.job;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.spark.conf.ConfFiles;
import dev.kvfreeze.spark.conf.ConfigurationException;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.conf.SettingsResolver;
import dev.kvfreeze.spark.conf.TemplateUse;
import dev.kvfreeze.spark.input.DocumentReader;
import dev.kvfreeze.spark.input.InputException;
import dev.kvfreeze.spark.output.OutputException;
import dev.kvfreeze.spark.output.OutputFolder;
import dev.kvfreeze.spark.output.OutputLock;
import dev.kvfreeze.spark.plugin.EngineFactory;
import dev.kvfreeze.spark.plugin.JobMonitor;
import dev.kvfreeze.spark.plugin.ModelIdentity;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import org.apache.spark.sql.SparkSession;
import scala.Tuple2;

/**
 * Runs a model over the documents of an input: checks everything that can be checked before Spark
 * starts, then does what the output lacks. See {@link DocumentRun} for the work itself.
 */
public final class InferenceJob {
  private static final DateTimeFormatter RUN_TIME =
      DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss").withZone(ZoneOffset.UTC);

  private final JobRequest request;
  private final Console console;

  public InferenceJob(JobRequest request, Console console) {
    this.request = request;
    this.console = console;
  }

  /**
   * Does the job.
   *
   * @throws JobFailure when it cannot be begun or finished
   */
  public ExitCode run() {
    try {
      return checkAndRun();
    } catch (ConfigurationException
        | InputException
        | OutputException
        | IllegalArgumentException e) {
      throw new JobFailure(ExitCode.USAGE, e.getMessage(), e);
    } catch (ModelFileException e) {
      throw new JobFailure(ExitCode.FAILED, e.getMessage(), e);
    }
  }

  private ExitCode checkAndRun() {
    SparkConf conf = new SparkConf();
    Configuration hadoop = SparkHadoopUtil.get().newConfiguration(conf);
    ConfFiles files = new ConfFiles(hadoop);
    Settings settings =
        new SettingsResolver(files)
            .resolve(request.options(), entries(conf), request.jobDefaults());
    PromptTemplate prompt =
        settings.value(Knobs.TEMPLATE) == TemplateUse.NONE
            ? PromptTemplate.VERBATIM
            : PromptTemplate.find(
                settings.value(Knobs.PROMPT), files.in(settings.value(Knobs.CONF_DIR)));
    ModelIdentity model = EngineFactory.of(settings).identify(settings, hadoop);
    OutputFolder output = OutputFolder.open(request.output(), hadoop);
    RunIdentity run = identity(settings, prompt, model);
    try (OutputLock lock = OutputLock.acquire(output, run.runId(), InferenceJob::lockLost)) {
      Thread release = new Thread(lock::close, "kvfreeze-release-lock");
      Runtime.getRuntime().addShutdownHook(release);
      try {
        return run(conf, settings, prompt, model, output, run);
      } finally {
        removeHook(release);
      }
    }
  }

  private ExitCode run(
      SparkConf conf,
      Settings settings,
      PromptTemplate prompt,
      ModelIdentity model,
      OutputFolder output,
      RunIdentity run) {
    console.say(
        "kvfreeze %s (%s), run %s".formatted(request.job(), RunRecord.version(), run.runId()));
    console.say("  model   %s, %s…".formatted(model.name(), shortened(model.hash())));
    console.say(
        "  policy  %s, prompt %s, at most %d new tokens"
            .formatted(run.policy(), run.promptName(), settings.value(Knobs.MAX_NEW_TOKENS)));
    SparkSession spark = SparkSessions.start(conf, request.job(), settings);
    try {
      output.repair();
      console.say("  spark   %s".formatted(spark.sparkContext().master()));
      DocumentReader reader = new DocumentReader(spark, request.input());
      TaskSettings task = new TaskSettings(run, settings, prompt, output.path().toString());
      return new DocumentRun(spark, request, console, output, task, model).run(reader);
    } finally {
      spark.stop();
    }
  }

  private RunIdentity identity(Settings settings, PromptTemplate prompt, ModelIdentity model) {
    String runId =
        "%s-%04x"
            .formatted(
                RUN_TIME.format(Instant.now()), ThreadLocalRandom.current().nextInt(1 << 16));
    return new RunIdentity(
        runId,
        model.name(),
        model.hash(),
        settings.value(Knobs.POLICY),
        prompt.name(),
        settings.fingerprint(List.of(prompt.text())));
  }

  private static void lockLost() {
    JobMonitor.current()
        .stop(
            JobMonitor.Stop.Cause.OUTPUT,
            "another job has taken over the output folder, because this one did not renew its lock"
                + " in time");
  }

  private static Map<String, String> entries(SparkConf conf) {
    Map<String, String> entries = new HashMap<>();
    for (Tuple2<String, String> entry : conf.getAll()) {
      entries.put(entry._1(), entry._2());
    }
    return entries;
  }

  private static void removeHook(Thread hook) {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The JVM is ending: the hook has its turn.
    }
  }

  static String shortened(String hash) {
    return hash.substring(0, Math.min(12, hash.length()));
  }
}
