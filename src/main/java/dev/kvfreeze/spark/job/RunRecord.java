package dev.kvfreeze.spark.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.output.OutputSchemas;
import dev.kvfreeze.spark.output.RunsTable;
import dev.kvfreeze.spark.output.TableRow;
import dev.kvfreeze.spark.plugin.ExecutorMessage;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.stream.Collectors;

/** The row of a run, at its start and at its end. */
final class RunRecord {
  private static final String DEVELOPMENT = "development";

  private final RunsTable table;
  private final JobRequest request;
  private final RunIdentity run;
  private final Settings settings;
  private final PromptTemplate prompt;
  private final String sparkVersion;
  private final Instant startedAt = Instant.now();

  RunRecord(
      RunsTable table,
      JobRequest request,
      RunIdentity run,
      Settings settings,
      PromptTemplate prompt,
      String sparkVersion) {
    this.table = table;
    this.request = request;
    this.run = run;
    this.settings = settings;
    this.prompt = prompt;
    this.sparkVersion = sparkVersion;
  }

  void started(WorkPlan plan) {
    table.write(run.runId(), common(plan, RunTotals.NONE).set("status", RunsTable.RUNNING));
  }

  /**
   * @param error why it stopped, or null when it finished
   */
  void ended(
      WorkPlan plan,
      RunTotals totals,
      Collection<ExecutorMessage.EngineReady> engines,
      List<String> kernelChecks,
      String error) {
    table.write(
        run.runId(),
        common(plan, totals)
            .set("status", error == null ? RunsTable.FINISHED : RunsTable.STOPPED)
            .set("error_message", error)
            .set("finished_at", Instant.now())
            .set("elapsed_ms", elapsed().toMillis())
            .set("device", joined(engines.stream().map(e -> e.device()).distinct().toList()))
            .set("provider", joined(engines.stream().map(e -> e.provider()).distinct().toList()))
            .set("kernel_check", joined(kernelChecks)));
  }

  Duration elapsed() {
    return Duration.between(startedAt, Instant.now());
  }

  private static String joined(List<String> names) {
    return names.isEmpty() ? null : names.stream().sorted().collect(Collectors.joining("; "));
  }

  private TableRow common(WorkPlan plan, RunTotals totals) {
    return new TableRow(OutputSchemas.RUNS)
        .set("run_id", run.runId())
        .set("job", request.job())
        .set("started_at", startedAt)
        .set("input", request.input().path())
        .set("model", run.model())
        .set("model_hash", run.modelHash())
        .set("policy", run.policy())
        .set("prompt_name", run.promptName())
        .set("prompt_text", prompt.text())
        .set("configuration_fingerprint", run.fingerprint())
        .set("configuration", configuration())
        .set("documents_input", plan.inputDocuments())
        .set("documents_done_before", plan.doneBefore())
        .set("documents_ok", totals.ok())
        .set("documents_failed", totals.failed())
        .set("prompt_tokens", totals.promptTokens())
        .set("generated_tokens", totals.generatedTokens())
        .set("kvfreeze_version", version())
        .set("spark_version", sparkVersion)
        .set("java_version", System.getProperty("java.version"));
  }

  private String configuration() {
    try {
      return new ObjectMapper().writeValueAsString(settings.asSparkConfiguration());
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /** From the jar's manifest. */
  static String version() {
    String version = RunRecord.class.getPackage().getImplementationVersion();
    return version == null ? DEVELOPMENT : version;
  }
}
