package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.engine.TimeProfile;
import java.io.Serializable;

/** What an executor's plugin tells the driver's. */
public sealed interface ExecutorMessage extends Serializable {
  String executorId();

  /** The engine is open. */
  record EngineReady(
      String executorId, String host, String device, String provider, int threads, long loadMillis)
      implements ExecutorMessage {}

  /**
   * The engine cannot be opened, or has ended by itself.
   *
   * @param everywhere whether it would fail on any executor, so that the job is to stop at once
   */
  record EngineFailed(String executorId, String host, boolean everywhere, String message)
      implements ExecutorMessage {}

  /**
   * Counters since the executor began.
   *
   * @param cost predicted cost of the documents that ended, tokens
   * @param lastFailure newest failure of a document, or null
   * @param kernelCheck whether the kernels run at full speed; null before the engine is ready
   * @param profile where the time went; null where nobody asked
   */
  record Progress(
      String executorId,
      long documentsOk,
      long documentsFailed,
      long cost,
      int queued,
      int running,
      long promptTokens,
      long generatedTokens,
      long residentKvBytes,
      long poolBytes,
      long coldKvBytes,
      String lastFailure,
      String kernelCheck,
      TimeProfile profile)
      implements ExecutorMessage {}
}
