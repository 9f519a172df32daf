package dev.kvfreeze.spark.job;

import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.engine.Generation;
import dev.kvfreeze.engine.GenerationStatistics;
import dev.kvfreeze.engine.StepRecord;
import dev.kvfreeze.spark.output.OutputSchemas;
import dev.kvfreeze.spark.output.TableRow;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Makes the rows of a document from what the engine returned. */
final class ResultRows {
  private static final int LONGEST_MESSAGE = 2000;

  private final RunIdentity run;
  private final DeviceInfo device;
  private final String executorId;
  private final String host;

  ResultRows(RunIdentity run, DeviceInfo device, String executorId, String host) {
    this.run = run;
    this.device = device;
    this.executorId = executorId;
    this.host = host;
  }

  TableRow done(PendingDocument document, Generation generation) {
    GenerationStatistics statistics = generation.statistics();
    List<String> notes = new ArrayList<>(document.notes());
    notes.addAll(generation.notes());
    return common(document)
        .set("notes", notes.isEmpty() ? null : notes)
        .set("status", OutputSchemas.OK)
        .set("text", generation.text())
        .set("finish_reason", generation.finishReason().name().toLowerCase(Locale.ROOT))
        .set("prompt_tokens", generation.promptTokens())
        .set("generated_tokens", generation.tokens().length)
        .set("generated_token_ids", generation.tokens())
        .set("peak_active_tokens", statistics.peakActiveTokens())
        .set("mean_active_tokens", statistics.meanActiveTokens())
        .set("peak_resident_kv_bytes", statistics.peakResidentKvBytes())
        .set("mean_resident_kv_bytes", statistics.meanResidentKvBytes())
        .set("full_kv_bytes", statistics.fullKvBytes())
        .set("frozen_pages", statistics.frozenPages())
        .set("thawed_pages", statistics.thawedPages())
        .set("bytes_to_cold", statistics.bytesToCold())
        .set("bytes_from_cold", statistics.bytesFromCold())
        .set("mean_entropy", statistics.meanEntropy())
        .set("peak_entropy", statistics.peakEntropy())
        .set("soft_resets", statistics.recoveries().softResets())
        .set("window_resets", statistics.recoveries().windowResets())
        .set("full_resets", statistics.recoveries().fullResets())
        .set("rewalks", statistics.recoveries().rewalks())
        .set("regenerated_tokens", statistics.recoveries().regeneratedTokens())
        .set("queue_ms", statistics.queueMillis())
        .set("prefill_ms", statistics.prefillMillis())
        .set("decode_ms", statistics.decodeMillis());
  }

  /**
   * @param stage read, prompt or generate
   */
  TableRow failed(PendingDocument document, String stage, String errorClass, String message) {
    String text = message == null ? errorClass : message;
    return common(document)
        .set("status", OutputSchemas.FAILED)
        .set("error_class", errorClass)
        .set("error_stage", stage)
        .set(
            "error_message",
            text.length() <= LONGEST_MESSAGE ? text : text.substring(0, LONGEST_MESSAGE) + "…");
  }

  List<TableRow> steps(PendingDocument document, List<StepRecord> records) {
    List<TableRow> rows = new ArrayList<>(records.size());
    for (StepRecord step : records) {
      rows.add(
          new TableRow(OutputSchemas.STEPS)
              .set("document_id", document.assignment().documentId())
              .set("step", step.step())
              .set("context_tokens", step.contextTokens())
              .set("active_tokens", step.activeTokens())
              .set("frozen_tokens", step.frozenTokens())
              .set("active_pages", step.activePages())
              .set("frozen_pages", step.frozenPages())
              .set("resident_kv_bytes", step.residentKvBytes())
              .set("cold_kv_bytes", step.coldKvBytes())
              .set("entropy", step.entropy())
              .set("recovery_level", step.recoveryLevel())
              .set("policy", run.policy())
              .set("run_id", run.runId())
              .set("document_hash", document.hash())
              .set("attempt", document.assignment().attempt()));
    }
    return rows;
  }

  private TableRow common(PendingDocument document) {
    List<String> notes = document.notes();
    DocumentPrompt prompt = document.prompt();
    return new TableRow(OutputSchemas.GENERATIONS)
        .set("document_id", document.assignment().documentId())
        .set("notes", notes.isEmpty() ? null : notes)
        .set("attempt", document.assignment().attempt())
        .set("document_tokens", prompt == null ? null : prompt.documentTokens())
        .set("prompt_hash", prompt == null ? null : prompt.hash())
        .set("model", run.model())
        .set("model_hash", run.modelHash())
        .set("policy", run.policy())
        .set("prompt_name", run.promptName())
        .set("configuration_fingerprint", run.fingerprint())
        .set("document_hash", document.hash())
        .set("run_id", run.runId())
        .set("provider", device.provider())
        .set("device", device.device())
        .set("executor_id", executorId)
        .set("host", host)
        .set("finished_at", Instant.now());
  }
}
