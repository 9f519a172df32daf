package dev.kvfreeze.spark.evaluation;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.kvfreeze.eval.Haystack;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.spark.conf.ConfFiles;
import dev.kvfreeze.spark.conf.ConfigurationException;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.conf.SettingsResolver;
import dev.kvfreeze.spark.job.Console;
import dev.kvfreeze.spark.job.ExitCode;
import dev.kvfreeze.spark.job.JobFailure;
import dev.kvfreeze.spark.output.OutputException;
import dev.kvfreeze.spark.output.OutputFolder;
import dev.kvfreeze.spark.output.OutputLock;
import dev.kvfreeze.spark.output.OutputSchemas;
import dev.kvfreeze.spark.plugin.EngineFactory;
import dev.kvfreeze.spark.plugin.ModelFiles;
import dev.kvfreeze.spark.plugin.ModelIdentity;
import java.io.IOException;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.deploy.SparkHadoopUtil;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * Evaluates cache policies: every example is read once with the full cache and answered under each
 * policy from there. What the output already has is not done again.
 */
public final class EvaluationJob {
  private static final DateTimeFormatter RUN_TIME =
      DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss").withZone(ZoneOffset.UTC);
  private static final ObjectMapper JSON = new ObjectMapper();

  private final EvaluationOptions options;
  private final Console console;

  public EvaluationJob(EvaluationOptions options, Console console) {
    this.options = options;
    this.console = console;
  }

  /**
   * Runs what is missing and prints the table of means.
   *
   * @throws JobFailure when it cannot be begun or finished
   */
  public void run() {
    try {
      checkAndRun();
    } catch (ConfigurationException | OutputException | IllegalArgumentException e) {
      throw new JobFailure(ExitCode.USAGE, e.getMessage(), e);
    } catch (ModelFileException e) {
      throw new JobFailure(ExitCode.FAILED, e.getMessage(), e);
    } catch (IOException e) {
      throw new JobFailure(
          ExitCode.FAILED, "output %s: %s".formatted(options.output(), e.getMessage()), e);
    }
  }

  private void checkAndRun() throws IOException {
    SparkConf conf = new SparkConf();
    Configuration hadoop = SparkHadoopUtil.get().newConfiguration(conf);
    List<PolicySpec> specs = PolicySpec.parseAll(options.policies());
    LinkedHashMap<String, Settings> settings = resolve(specs, conf, hadoop);
    Settings first = settings.values().iterator().next();
    ModelIdentity model = EngineFactory.of(first).identify(first, hadoop);
    OutputFolder output = OutputFolder.open(options.output(), hadoop);
    EvaluationRun run =
        new EvaluationRun(
            RUN_TIME.format(Instant.now()),
            model.name(),
            model.hash(),
            options.question(),
            settings,
            configurations(settings),
            output.path().toString());
    EvaluationSuite suite = EvaluationSuite.named(options.suite());
    List<EvaluationItem> items =
        suite.items(
            options.tasks(),
            options.lengths(),
            options.samples(),
            options.firstSeed(),
            model.contextLength());
    if (items.isEmpty()) {
      throw new ConfigurationException(
          "no length fits the model's context of %d tokens; choose shorter --lengths"
              .formatted(model.contextLength()));
    }
    if (items.stream().anyMatch(LengthCheck::mayBeTooShort)) {
      try (LanguageModel opened = LanguageModels.open(ModelFiles.find(first, hadoop))) {
        LengthCheck.check(items, opened.tokenizer(), new Haystack(ExecutorTrials.prose()));
      }
    }
    conf.setIfMissing("spark.master", "local[*]");
    conf.setIfMissing("spark.app.name", "kvfreeze evaluate");
    conf.setIfMissing("spark.ui.showConsoleProgress", "false");
    conf.set("spark.speculation", "false");
    try (OutputLock lock = OutputLock.acquire(output, run.runId(), () -> {})) {
      SparkSession spark = SparkSession.builder().config(conf).getOrCreate();
      try {
        work(spark, run, output, items, hadoop);
        EvaluationReport.print(trials(spark, output), run, console);
      } finally {
        spark.stop();
      }
    }
  }

  private void work(
      SparkSession spark,
      EvaluationRun run,
      OutputFolder output,
      List<EvaluationItem> items,
      Configuration hadoop)
      throws IOException {
    Map<EvaluationItem, Set<String>> answered = answered(spark, run, output);
    List<EvaluationItem> missing = new ArrayList<>(items);
    Set<String> all = run.settings().keySet();
    missing.removeIf(item -> answered.getOrDefault(item, Set.of()).containsAll(all));
    console.say(
        "kvfreeze evaluate: %s, %d policies, %d examples, %d of them done before"
            .formatted(run.model(), all.size(), items.size(), items.size() - missing.size()));
    if (missing.isEmpty()) {
      return;
    }
    HashMap<EvaluationItem, Set<String>> partly = new HashMap<>(answered);
    partly.keySet().retainAll(missing);
    JavaSparkContext context = new JavaSparkContext(spark.sparkContext());
    context.sc().addSparkListener(new EvaluationProgress(missing.size(), console));
    context
        .parallelize(missing, missing.size())
        .mapPartitions(
            new EvaluationTaskFunction(
                run, partly, context.broadcast(new SerializableConfiguration(hadoop))))
        .collect();
  }

  /** The policies of this run that have answered an example with the same settings. */
  private static Map<EvaluationItem, Set<String>> answered(
      SparkSession spark, EvaluationRun run, OutputFolder output) throws IOException {
    Map<EvaluationItem, Set<String>> answered = new HashMap<>();
    for (Row row :
        trials(spark, output)
            .where(functions.col("model_hash").equalTo(run.modelHash()))
            .where(functions.col("question").equalTo(run.decision()))
            .select("task", "length", "seed", "policy", "configuration")
            .collectAsList()) {
      String policy = row.getString(3);
      if (row.getString(4).equals(run.configurations().get(policy))) {
        answered
            .computeIfAbsent(
                new EvaluationItem(row.getString(0), row.getInt(1), row.getLong(2)),
                item -> new HashSet<>())
            .add(policy);
      }
    }
    return answered;
  }

  private static Dataset<Row> trials(SparkSession spark, OutputFolder output) throws IOException {
    if (!output.fileSystem().exists(output.table(OutputSchemas.TRIALS))) {
      return spark.createDataFrame(List.of(), OutputSchemas.TRIALS.sparkSchema());
    }
    return spark
        .read()
        .schema(OutputSchemas.TRIALS.sparkSchema())
        .parquet(output.table(OutputSchemas.TRIALS).toString());
  }

  private LinkedHashMap<String, Settings> resolve(
      List<PolicySpec> specs, SparkConf conf, Configuration hadoop) {
    Map<String, String> spark = new HashMap<>();
    for (Tuple2<String, String> entry : conf.getAll()) {
      spark.put(entry._1(), entry._2());
    }
    LinkedHashMap<String, Settings> settings = new LinkedHashMap<>();
    for (PolicySpec spec : specs) {
      Map<String, String> chosen = new LinkedHashMap<>(options.settings());
      chosen.put(Knobs.POLICY.name(), spec.policy());
      chosen.putAll(spec.settings());
      settings.put(
          spec.label(),
          new SettingsResolver(new ConfFiles(hadoop)).resolve(chosen, spark, Map.of()));
    }
    return settings;
  }

  private static LinkedHashMap<String, String> configurations(
      LinkedHashMap<String, Settings> settings) {
    LinkedHashMap<String, String> texts = new LinkedHashMap<>();
    settings.forEach(
        (label, own) -> {
          try {
            Map<String, String> entries = new TreeMap<>(own.asSparkConfiguration());
            // Where the prompts and policies lie changes nothing.
            entries.remove(Knobs.CONF_DIR.key());
            entries.remove(Knobs.MODEL.key());
            texts.put(label, JSON.writeValueAsString(entries));
          } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
          }
        });
    return texts;
  }
}
