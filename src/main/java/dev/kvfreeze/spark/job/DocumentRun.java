package dev.kvfreeze.spark.job;

import dev.kvfreeze.engine.TimeTable;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.input.DocumentReader;
import dev.kvfreeze.spark.input.InputDocument;
import dev.kvfreeze.spark.output.EarlierResults;
import dev.kvfreeze.spark.output.OutputFolder;
import dev.kvfreeze.spark.output.RunsTable;
import dev.kvfreeze.spark.plugin.JobMonitor;
import dev.kvfreeze.spark.plugin.ModelIdentity;
import java.util.Comparator;
import java.util.Locale;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * A run on the driver: which documents are missing, their way to the executors, and the sum at the
 * end. The input is read twice, once for the documents' hashes and once for those that are missing.
 */
final class DocumentRun {
  private final SparkSession spark;
  private final JavaSparkContext context;
  private final JobRequest request;
  private final Console console;
  private final OutputFolder output;
  private final TaskSettings task;
  private final ModelIdentity model;
  private final JobMonitor monitor = JobMonitor.current();

  DocumentRun(
      SparkSession spark,
      JobRequest request,
      Console console,
      OutputFolder output,
      TaskSettings task,
      ModelIdentity model) {
    this.spark = spark;
    this.context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    this.request = request;
    this.console = console;
    this.output = output;
    this.task = task;
    this.model = model;
  }

  ExitCode run(DocumentReader reader) {
    Settings settings = task.settings();
    Configuration hadoop = spark.sparkContext().hadoopConfiguration();
    RunsTable runs = new RunsTable(output, hadoop);
    int interrupted = runs.markInterrupted(spark);
    JavaRDD<InputDocument> documents = reader.documents();
    WorkPlan plan = plan(documents);
    describe(reader, plan, interrupted);
    if (plan.assignments().isEmpty()) {
      console.result(
          "nothing left to do: all %d documents of %s are in %s"
              .formatted(plan.inputDocuments(), request.input().path(), output.path()));
      return ExitCode.OK;
    }
    RunRecord record =
        new RunRecord(runs, request, task.run(), settings, task.prompt(), spark.version());
    record.started(plan);
    monitor.limit(settings.value(Knobs.ERROR_BUDGET), plan.assignments().size());
    RuntimeException failure = null;
    try (ProgressReporter progress =
        new ProgressReporter(console, monitor, plan, settings.value(Knobs.PROGRESS_INTERVAL))) {
      process(documents, plan, hadoop);
    } catch (RuntimeException e) {
      failure = e;
    } catch (Exception e) {
      // Scala code throws checked exceptions without declaring them.
      failure = new IllegalStateException(e);
    }
    monitor.workEnded();
    String error = failure == null ? null : reason(failure);
    RunTotals totals = RunTotals.read(spark, output, task.run().runId());
    record.ended(plan, totals, monitor.engines(), monitor.kernelChecks(), error);
    output.removeTemporary();
    new RunSummary(console, output).print(plan, totals, record.elapsed());
    monitor.profile().ifPresent(profile -> TimeTable.lines(profile).forEach(console::result));
    if (failure != null) {
      boolean budget =
          monitor.stopped().stream()
              .anyMatch(stop -> stop.cause() == JobMonitor.Stop.Cause.ERROR_BUDGET);
      throw new JobFailure(
          budget ? ExitCode.BUDGET : ExitCode.FAILED,
          error + "\nWhat is done stays done: run the same command again to go on.",
          failure);
    }
    return totals.failed() == 0 ? ExitCode.OK : ExitCode.SOME_FAILED;
  }

  private WorkPlan plan(JavaRDD<InputDocument> documents) {
    context.setJobDescription("Look at the documents");
    Settings settings = task.settings();
    EarlierResults earlier =
        EarlierResults.read(spark, output, task.run().modelHash(), task.run().fingerprint());
    int contextLimit = settings.value(Knobs.CONTEXT_LIMIT);
    return WorkPlan.of(
        documents.map(DocumentSummary::of).collect(),
        earlier,
        new WorkPlan.Capacity(
            Math.max(
                1, context.defaultParallelism() / context.getConf().getInt("spark.task.cpus", 1)),
            settings.value(Knobs.MAX_BATCH),
            contextLimit == 0 ? model.contextLength() : contextLimit,
            settings.value(Knobs.MAX_NEW_TOKENS)));
  }

  private void describe(DocumentReader reader, WorkPlan plan, int interrupted) {
    console.say(
        "  input   %s: %d documents (%s)%s"
            .formatted(
                request.input().path(),
                plan.inputDocuments(),
                reader.format().name().toLowerCase(Locale.ROOT),
                plan.repeatedRows() == 0
                    ? ""
                    : ", and %d rows that repeat one of them".formatted(plan.repeatedRows())));
    console.say("  output  %s".formatted(output.path()));
    if (interrupted > 0) {
      console.say("          an earlier run was interrupted; this one goes on where it was");
    }
    console.say(
        "  to do   %d documents in %d tasks; %d done before%s"
            .formatted(
                plan.assignments().size(),
                plan.bins(),
                plan.doneBefore(),
                plan.retried() == 0 ? "" : ", %d failed before".formatted(plan.retried())));
  }

  private void process(JavaRDD<InputDocument> documents, WorkPlan plan, Configuration hadoop) {
    stopIfAsked();
    context.setJobGroup(task.run().runId(), "Generate", true);
    Broadcast<Map<String, Assignment>> assignments = context.broadcast(plan.assignments());
    Broadcast<SerializableConfiguration> configuration =
        context.broadcast(new SerializableConfiguration(hadoop));
    documents
        .filter(document -> assignments.value().containsKey(document.hash()))
        .mapToPair(
            document -> {
              Assignment assignment = assignments.value().get(document.hash());
              return new Tuple2<>(new TaskPlace(assignment.bin(), assignment.rank()), document);
            })
        .repartitionAndSortWithinPartitions(
            new BinPartitioner(plan.bins()), Comparator.<TaskPlace>naturalOrder())
        .mapPartitions(new DocumentTask(task, assignments, configuration))
        .collect();
    stopIfAsked();
  }

  private void stopIfAsked() {
    if (monitor.stopped().isPresent()) {
      throw new IllegalStateException(monitor.stopped().get().message());
    }
  }

  private String reason(Throwable failure) {
    if (monitor.stopped().isPresent()) {
      return monitor.stopped().get().message();
    }
    Throwable cause = failure;
    while (cause.getCause() != null && cause.getCause() != cause) {
      cause = cause.getCause();
    }
    String message = cause.getMessage() == null ? cause.toString() : cause.getMessage();
    // Spark puts the stack traces of the executors into its messages.
    int stack = message.indexOf("\n\tat ");
    return stack < 0 ? message : message.substring(0, stack);
  }
}
