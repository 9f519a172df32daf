package dev.kvfreeze.engine;

import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.model.LanguageModel;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Collectors;

/**
 * Continuous batching (Orca, OSDI 2022) on one engine thread: documents join the running batch when
 * their predicted KV bytes fit, are read in chunks, decode together, and leave as each ends.
 *
 * <p>The queue is shared under {@link #lock}; everything else belongs to the engine thread, which
 * alone calls the device.
 */
final class BatchEngine implements Engine {
  private static final System.Logger LOGGER = System.getLogger(BatchEngine.class.getName());

  private final LanguageModel model;
  private final Device device;
  private final KvCache cache;
  private final FreezePolicy policy;
  private final int contextLimit;
  private final Set<Integer> endTokens;
  private final BatchLoop loop;
  private final Thread thread;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition queueChanged = lock.newCondition();
  private final Deque<Document> queue = new ArrayDeque<>();
  private Throwable closedBecause;

  BatchEngine(
      LanguageModel model,
      Device device,
      Transformer transformer,
      KvCache cache,
      FreezePolicy policy,
      EngineOptions options,
      int contextLimit) {
    this.model = model;
    this.device = device;
    this.cache = cache;
    this.policy = policy;
    this.contextLimit = contextLimit;
    this.endTokens =
        Arrays.stream(model.tokenizer().endTokens())
            .boxed()
            .collect(Collectors.toUnmodifiableSet());
    this.loop = new BatchLoop(transformer, cache, policy, options, contextLimit);
    this.thread = new Thread(this::run, "kvfreeze-engine");
    this.thread.setDaemon(true);
    this.thread.start();
  }

  @Override
  public LanguageModel model() {
    return model;
  }

  @Override
  public DeviceInfo device() {
    return device.info();
  }

  @Override
  public String kernelCheck() {
    return device.kernelCheck();
  }

  @Override
  public String policyName() {
    return policy.name();
  }

  @Override
  public int contextLimit() {
    return contextLimit;
  }

  @Override
  public CompletableFuture<Generation> submit(GenerationRequest request) {
    CompletableFuture<Generation> result = new CompletableFuture<>();
    try {
      requireUsable(request);
    } catch (IllegalArgumentException e) {
      result.completeExceptionally(e);
      return result;
    }
    Document document =
        new Document(request, result, model.tokenizer(), endTokens, contextLimit, policy.guard());
    lock.lock();
    try {
      if (closedBecause != null) {
        result.completeExceptionally(
            new IllegalStateException("the engine is closed", closedBecause));
      } else {
        queue.addLast(document);
        queueChanged.signal();
      }
    } finally {
      lock.unlock();
    }
    return result;
  }

  private void requireUsable(GenerationRequest request) {
    int prompt = request.promptTokens().length;
    if (prompt == 0) {
      throw new IllegalArgumentException(
          "document " + request.id() + ": the prompt has no tokens; give it some text");
    }
    if (request.maxNewTokens() < 1) {
      throw new IllegalArgumentException(
          "document "
              + request.id()
              + ": at least one new token must be asked for, found "
              + request.maxNewTokens());
    }
    if (prompt >= contextLimit) {
      throw new IllegalArgumentException(
          "document "
              + request.id()
              + ": the prompt has "
              + prompt
              + " tokens, the context holds "
              + contextLimit
              + " with at least one for the output; shorten the document, raise "
              + "engine.contextLimit or take a model with a longer context");
    }
    if (request.contextTokens() < 0 || request.contextTokens() >= prompt) {
      throw new IllegalArgumentException(
          "document "
              + request.id()
              + ": the context has "
              + request.contextTokens()
              + " tokens of a prompt of "
              + prompt
              + "; it must leave at least one for the question, or be 0 for a prompt in one piece");
    }
    for (int token : request.promptTokens()) {
      if (token < 0 || token >= model.spec().vocabulary()) {
        throw new IllegalArgumentException(
            "document "
                + request.id()
                + ": token "
                + token
                + " is outside the vocabulary of "
                + model.spec().vocabulary());
      }
    }
  }

  @Override
  public Optional<Throwable> failure() {
    lock.lock();
    try {
      return Optional.ofNullable(closedBecause);
    } finally {
      lock.unlock();
    }
  }

  @Override
  public ProgressSnapshot progress() {
    int queued;
    lock.lock();
    try {
      queued = queue.size();
    } finally {
      lock.unlock();
    }
    return loop.snapshot(queued);
  }

  @Override
  public Optional<TimeProfile> profile() {
    return Optional.ofNullable(loop.profile());
  }

  private void run() {
    Throwable reason = new IllegalStateException("the engine was closed");
    try {
      // Beside whatever the caller still prepares; the first document waits for what is left.
      device.checkKernels(model.spec(), cache.memory().layout(), policy.sketchPlanes());
      while (waitForWork()) {
        loop.step(this::poll, this::requeue);
      }
    } catch (Throwable failure) {
      // An error here is the device's or the JVM's, not a document's: nothing can go on.
      reason = failure;
    } finally {
      shutDown(reason);
    }
  }

  /** Blocks until there is something to do; false when the engine is to end. */
  private boolean waitForWork() throws InterruptedException {
    lock.lock();
    try {
      while (closedBecause == null && queue.isEmpty() && loop.idle()) {
        queueChanged.await();
      }
      return closedBecause == null;
    } finally {
      lock.unlock();
    }
  }

  private Document poll() {
    lock.lock();
    try {
      return queue.pollFirst();
    } finally {
      lock.unlock();
    }
  }

  private void requeue(Document document) {
    lock.lock();
    try {
      queue.addFirst(document);
    } finally {
      lock.unlock();
    }
  }

  private void shutDown(Throwable reason) {
    Deque<Document> left;
    lock.lock();
    try {
      if (closedBecause == null) {
        closedBecause = reason;
      }
      left = new ArrayDeque<>(queue);
      queue.clear();
    } finally {
      lock.unlock();
    }
    loop.abandon(reason);
    left.forEach(document -> document.result().completeExceptionally(reason));
    closeQuietly(cache, reason);
    closeQuietly(device, reason);
  }

  /** What goes wrong while all ends is added to why it ends. */
  private static void closeQuietly(AutoCloseable part, Throwable reason) {
    try {
      part.close();
    } catch (Throwable failure) {
      if (failure != reason) {
        reason.addSuppressed(failure);
      }
      LOGGER.log(System.Logger.Level.WARNING, "the engine does not close as it should", failure);
    }
  }

  @Override
  public void close() {
    lock.lock();
    try {
      if (closedBecause == null) {
        closedBecause = new IllegalStateException("the engine was closed");
      }
      queueChanged.signal();
    } finally {
      lock.unlock();
    }
    boolean interrupted = false;
    while (thread.isAlive() && thread != Thread.currentThread()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
