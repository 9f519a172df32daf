package dev.kvfreeze.spark.output;

import static dev.kvfreeze.spark.output.Column.optional;
import static dev.kvfreeze.spark.output.Column.required;
import static dev.kvfreeze.spark.output.ColumnType.DOUBLE;
import static dev.kvfreeze.spark.output.ColumnType.INT;
import static dev.kvfreeze.spark.output.ColumnType.INT_LIST;
import static dev.kvfreeze.spark.output.ColumnType.LONG;
import static dev.kvfreeze.spark.output.ColumnType.STRING;
import static dev.kvfreeze.spark.output.ColumnType.STRING_LIST;
import static dev.kvfreeze.spark.output.ColumnType.TIMESTAMP;

import java.util.List;

/**
 * The three result tables.
 *
 * <p>A document's identity is (document_hash, model_hash, configuration_fingerprint): it has at
 * most one row of {@code generations} with status {@code ok}, and a row with status {@code failed}
 * for each attempt that failed. {@code steps} belongs to a row of {@code generations} by (run_id,
 * document_hash, attempt).
 */
public final class OutputSchemas {
  /** Raised when a column changes its meaning or goes; new columns alone do not raise it. */
  public static final int VERSION = 1;

  public static final String OK = "ok";
  public static final String FAILED = "failed";

  /** A row a document and attempt. */
  public static final TableSchema GENERATIONS =
      new TableSchema(
          "generations",
          List.of(
              required(
                  "document_id",
                  STRING,
                  "",
                  "id in the input; a second document of the same id gets #hash"),
              required("status", STRING, "", "ok or failed"),
              optional("text", STRING, "", "generated text; null when failed"),
              optional("finish_reason", STRING, "", "stop, stop_string, length or context"),
              optional(
                  "notes",
                  STRING_LIST,
                  "",
                  "what was done to the document, such as cutting it, and what memory did not allow"),
              optional("error_class", STRING, "", "kind of failure, to group by"),
              optional("error_message", STRING, "", "what failed and the remedy"),
              optional("error_stage", STRING, "", "read, prompt or generate"),
              required(
                  "attempt",
                  INT,
                  "",
                  "1 for the first; a failed document is tried again by the next run"),
              optional(
                  "document_tokens",
                  INT,
                  "tokens",
                  "of the whole document; estimated when it was cut far"),
              optional("prompt_tokens", INT, "tokens", "of the prompt, template included"),
              optional("generated_tokens", INT, "tokens", "of the output, without the end token"),
              optional("generated_token_ids", INT_LIST, "", "of the output, without the end token"),
              optional(
                  "peak_active_tokens",
                  DOUBLE,
                  "tokens",
                  "most tokens attended to, mean over layers and KV heads, prefill included"),
              optional(
                  "mean_active_tokens",
                  DOUBLE,
                  "tokens",
                  "tokens attended to, mean over layers, KV heads and decode steps"),
              optional(
                  "peak_resident_kv_bytes",
                  LONG,
                  "bytes",
                  "most KV bytes on the device, prefill included"),
              optional(
                  "mean_resident_kv_bytes",
                  LONG,
                  "bytes",
                  "KV bytes on the device, mean over the decode steps"),
              optional(
                  "full_kv_bytes", LONG, "bytes", "KV bytes that the full cache has at the end"),
              optional("frozen_pages", LONG, "pages", "pages frozen, each time counted"),
              optional("thawed_pages", LONG, "pages", "pages thawed, each time counted"),
              optional("bytes_to_cold", LONG, "bytes", "copied to the cold store"),
              optional("bytes_from_cold", LONG, "bytes", "copied back from the cold store"),
              optional("mean_entropy", DOUBLE, "nats", "of the next-token distribution"),
              optional("peak_entropy", DOUBLE, "nats", "of the next-token distribution"),
              optional("soft_resets", INT, "", "recoveries of level SR"),
              optional("window_resets", INT, "", "recoveries of level WR"),
              optional("full_resets", INT, "", "recoveries of level FR"),
              optional("rewalks", INT, "", "recoveries of level RR"),
              optional("regenerated_tokens", INT, "tokens", "thrown away by rewalks"),
              optional("queue_ms", DOUBLE, "ms", "waiting for room in the batch"),
              optional("prefill_ms", DOUBLE, "ms", "reading the prompt"),
              optional(
                  "decode_ms", DOUBLE, "ms", "generating, beside the other documents of the batch"),
              required("model", STRING, "", "file name of the model"),
              required("model_hash", STRING, "", "SHA-256 of the model file"),
              required("policy", STRING, "", "cache policy"),
              required("prompt_name", STRING, "", "prompt, or none for verbatim text"),
              required(
                  "configuration_fingerprint",
                  STRING,
                  "",
                  "SHA-256 of all that changes text or statistics, model apart"),
              required("document_hash", STRING, "", "SHA-256 of id and text"),
              optional(
                  "prompt_hash", STRING, "", "SHA-256 of the prompt's token ids, 4 bytes each"),
              required("run_id", STRING, "", "run that wrote the row"),
              optional("provider", STRING, "", "kernels that computed"),
              optional("device", STRING, "", "device that computed"),
              optional("executor_id", STRING, "", "of Spark"),
              optional("host", STRING, "", "of the executor"),
              required("finished_at", TIMESTAMP, "UTC", "when the document ended")));

  /** A row every s generated tokens of a document; figures are drawn from it. */
  public static final TableSchema STEPS =
      new TableSchema(
          "steps",
          List.of(
              required("document_id", STRING, "", "as in generations"),
              required("step", INT, "tokens", "generated so far; 0 is the end of prefill"),
              required("context_tokens", INT, "tokens", "in the sequence"),
              required(
                  "active_tokens", DOUBLE, "tokens", "attended to, mean over layers and KV heads"),
              required("frozen_tokens", DOUBLE, "tokens", "frozen, mean over layers and KV heads"),
              required("active_pages", LONG, "pages", "on the device, all layers and KV heads"),
              required("frozen_pages", LONG, "pages", "frozen now, all layers and KV heads"),
              required("resident_kv_bytes", LONG, "bytes", "of the active pages"),
              required("cold_kv_bytes", LONG, "bytes", "of the document in the cold store"),
              required("entropy", DOUBLE, "nats", "of the next-token distribution"),
              required(
                  "recovery_level", STRING, "", "of the entropy guard: none, SR, WR, FR or RR"),
              required("policy", STRING, "", "cache policy"),
              required("run_id", STRING, "", "run that wrote the row"),
              required("document_hash", STRING, "", "SHA-256 of id and text"),
              required("attempt", INT, "", "as in generations")));

  /** A row an example and policy: what {@code evaluate} writes. */
  public static final TableSchema TRIALS =
      new TableSchema(
          "trials",
          List.of(
              required("run_id", STRING, "", "run that wrote the row"),
              required("model", STRING, "", "file name of the model"),
              required("model_hash", STRING, "", "SHA-256 of the model file"),
              required("task", STRING, "", "of the registry, or perplexity"),
              required(
                  "family",
                  STRING,
                  "",
                  "retrieval, tracing, aggregation, question, summary or language"),
              required("length", INT, "tokens", "asked for"),
              required("seed", LONG, "", "of the example"),
              required(
                  "question",
                  STRING,
                  "",
                  "agnostic: unknown when a policy freezes; aware: known then"),
              required("policy", STRING, "", "as on the command line; the first is the control"),
              required("configuration", STRING, "JSON", "all settings of the policy"),
              optional("depth", DOUBLE, "share", "where a passkey is hidden"),
              required("prompt_tokens", INT, "tokens", "there were"),
              optional(
                  "score",
                  DOUBLE,
                  "percent",
                  "string match with the answers; of a summary ROUGE-L with the control's"),
              optional("reference", DOUBLE, "percent", "ROUGE-L of a summary with its text's lead"),
              required(
                  "agreement",
                  DOUBLE,
                  "share",
                  "of the control's output tokens, or of its most probable next tokens"),
              optional("perplexity", DOUBLE, "", "of text fed in"),
              optional("divergence", DOUBLE, "nats", "Kullback-Leibler, from the control, mean"),
              required("peak_resident_kv_bytes", LONG, "bytes", "prefill and sketches included"),
              required("mean_resident_kv_bytes", LONG, "bytes", "over the decode steps"),
              required("full_kv_bytes", LONG, "bytes", "a cache without freezing would hold"),
              required("peak_active_tokens", DOUBLE, "tokens", "mean over layers and KV heads"),
              required("mean_active_tokens", DOUBLE, "tokens", "over the decode steps"),
              required("frozen_pages", LONG, "pages", "each time counted"),
              required("thawed_pages", LONG, "pages", "each time counted"),
              required("bytes_from_cold", LONG, "bytes", "copied back, passing pages included"),
              optional("recoveries", INT, "", "of the entropy guard, all levels"),
              optional("regenerated_tokens", INT, "tokens", "thrown away by rewalks"),
              required("decode_ms", DOUBLE, "ms", "of all decode steps"),
              required("output", STRING, "", "generated text"),
              required("provider", STRING, "", "kernels that computed"),
              required("device", STRING, "", "device that computed"),
              required("finished_at", TIMESTAMP, "UTC", "end")));

  /** A row a run. It is there from the start, with status running. */
  public static final TableSchema RUNS =
      new TableSchema(
          "runs",
          List.of(
              required("run_id", STRING, "", "begins with the UTC time of the start"),
              required(
                  "status",
                  STRING,
                  "",
                  "running, finished, stopped (see error_message) or interrupted"),
              optional("error_message", STRING, "", "why it stopped"),
              required("job", STRING, "", "summarize or generate"),
              required("started_at", TIMESTAMP, "UTC", "start"),
              optional("finished_at", TIMESTAMP, "UTC", "end"),
              required("input", STRING, "", "path"),
              required("model", STRING, "", "file name of the model"),
              required("model_hash", STRING, "", "SHA-256 of the model file"),
              required("policy", STRING, "", "cache policy"),
              required("prompt_name", STRING, "", "prompt, or none for verbatim text"),
              required("prompt_text", STRING, "", "the prompt's text"),
              required(
                  "configuration_fingerprint",
                  STRING,
                  "",
                  "SHA-256 of all that changes text or statistics, model apart"),
              required("configuration", STRING, "JSON", "all settings of the run"),
              optional("device", STRING, "", "devices that computed"),
              optional("provider", STRING, "", "kernels that computed"),
              optional(
                  "kernel_check",
                  STRING,
                  "",
                  "good, or which kernels ran slowly on an executor and the remedy"),
              required("documents_input", LONG, "documents", "in the input"),
              required(
                  "documents_done_before",
                  LONG,
                  "documents",
                  "with a row of status ok from earlier runs"),
              required("documents_ok", LONG, "documents", "done by this run"),
              required("documents_failed", LONG, "documents", "failed in this run"),
              required("prompt_tokens", LONG, "tokens", "read by this run"),
              required("generated_tokens", LONG, "tokens", "generated by this run"),
              optional("elapsed_ms", LONG, "ms", "from start to end"),
              required("kvfreeze_version", STRING, "", "of this program"),
              required("spark_version", STRING, "", "of Spark"),
              required("java_version", STRING, "", "of the driver")));

  private OutputSchemas() {}
}
