package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.engine.GenerationStatistics;
import dev.kvfreeze.eval.TrialResult;
import dev.kvfreeze.spark.output.OutputSchemas;
import dev.kvfreeze.spark.output.TableRow;
import java.time.Instant;

/** Results as rows of the table {@code trials}. */
final class TrialsTable {
  private TrialsTable() {}

  static TableRow row(
      TrialResult result, EvaluationRun run, String provider, String device, double depth) {
    GenerationStatistics statistics = result.statistics();
    return new TableRow(OutputSchemas.TRIALS)
        .set("run_id", run.runId())
        .set("model", run.model())
        .set("model_hash", run.modelHash())
        .set("task", result.task())
        .set("family", result.family())
        .set("length", result.length())
        .set("seed", result.seed())
        .set("question", run.decision())
        .set("policy", result.policy())
        .set("configuration", run.configurations().get(result.policy()))
        .set("depth", Double.isNaN(depth) ? null : depth)
        .set("prompt_tokens", result.promptTokens())
        .set("score", known(result.score()))
        .set("reference", known(result.reference()))
        .set("agreement", result.agreement())
        .set("perplexity", known(result.perplexity()))
        .set("divergence", known(result.divergence()))
        .set("peak_resident_kv_bytes", statistics.peakResidentKvBytes())
        .set("mean_resident_kv_bytes", statistics.meanResidentKvBytes())
        .set("full_kv_bytes", statistics.fullKvBytes())
        .set("peak_active_tokens", statistics.peakActiveTokens())
        .set("mean_active_tokens", statistics.meanActiveTokens())
        .set("frozen_pages", statistics.frozenPages())
        .set("thawed_pages", statistics.thawedPages())
        .set("bytes_from_cold", statistics.bytesFromCold())
        .set("recoveries", statistics.recoveries().total())
        .set("regenerated_tokens", statistics.recoveries().regeneratedTokens())
        .set("decode_ms", statistics.decodeMillis())
        .set("output", result.output())
        .set("provider", provider)
        .set("device", device)
        .set("finished_at", Instant.now());
  }

  private static Double known(double value) {
    return Double.isNaN(value) ? null : value;
  }
}
