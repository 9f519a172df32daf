package dev.kvfreeze.engine;

import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.model.LanguageModel;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * One model on one device: takes requests from any thread, batches them continuously and completes
 * them. A request that fails completes exceptionally and does not disturb the others.
 */
public interface Engine extends AutoCloseable {
  LanguageModel model();

  DeviceInfo device();

  /** Whether the kernels run at full speed; begins with {@code good}, or gives a remedy. */
  default String kernelCheck() {
    return "good: nothing to check";
  }

  String policyName();

  /** Tokens a sequence may have, prompt and output together. */
  int contextLimit();

  /** Queues a request; cancelling the future takes the document out of the batch. */
  CompletableFuture<Generation> submit(GenerationRequest request);

  ProgressSnapshot progress();

  /** Where the time has gone so far; empty where {@link Profiling} is off. Any thread. */
  default Optional<TimeProfile> profile() {
    return Optional.empty();
  }

  /** Why the engine ended by itself; empty while requests can succeed. */
  default Optional<Throwable> failure() {
    return Optional.empty();
  }

  /** Fails what is queued or running, and frees the device. */
  @Override
  void close();
}
