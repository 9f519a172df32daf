package dev.kvfreeze.spark.plugin;

import java.util.function.ToLongFunction;

/** The metrics of an executor, in Spark's metric system under this plugin's name. */
enum ExecutorMetric {
  DOCUMENTS_OK("documents.ok", "documents done", ExecutorMessage.Progress::documentsOk),
  DOCUMENTS_FAILED(
      "documents.failed", "documents failed", ExecutorMessage.Progress::documentsFailed),
  DOCUMENTS_RUNNING(
      "documents.running", "documents in the batch", ExecutorMessage.Progress::running),
  PROMPT_TOKENS("tokens.prompt", "tokens read", ExecutorMessage.Progress::promptTokens),
  GENERATED_TOKENS(
      "tokens.generated", "tokens generated", ExecutorMessage.Progress::generatedTokens),
  RESIDENT_KV(
      "kv.residentBytes", "bytes of active pages", ExecutorMessage.Progress::residentKvBytes),
  COLD_KV("kv.coldBytes", "bytes in the cold store", ExecutorMessage.Progress::coldKvBytes),
  POOL("kv.poolBytes", "most bytes of active pages", ExecutorMessage.Progress::poolBytes);

  private final String metricName;
  private final String description;
  private final ToLongFunction<ExecutorMessage.Progress> reader;

  ExecutorMetric(
      String metricName, String description, ToLongFunction<ExecutorMessage.Progress> reader) {
    this.metricName = metricName;
    this.description = description;
    this.reader = reader;
  }

  String metricName() {
    return metricName;
  }

  String description() {
    return description;
  }

  long read(ExecutorMessage.Progress progress) {
    return reader.applyAsLong(progress);
  }
}
