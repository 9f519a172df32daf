package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.device.DeviceLostError;
import dev.kvfreeze.device.cuda.CudaUnavailableException;
import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.engine.ProgressSnapshot;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.spark.conf.ConfigurationException;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;

/**
 * The engine of this JVM's executor: one a JVM, from the plugin's {@code init} to its {@code
 * shutdown}, with the settings of that moment. Its tasks share it, so that their documents are
 * batched together; they find it by {@link #current()} because Spark gives a task no way to its
 * plugin. It loads in the background.
 */
public final class ExecutorEngine implements AutoCloseable {
  private static final AtomicReference<ExecutorEngine> CURRENT = new AtomicReference<>();

  private final Settings settings;
  private final String executorId;
  private final String host;
  private final Consumer<ExecutorMessage> driver;
  private final CompletableFuture<Engine> engine = new CompletableFuture<>();
  private final Semaphore room;
  private final LongAdder documentsOk = new LongAdder();
  private final LongAdder documentsFailed = new LongAdder();
  private final LongAdder cost = new LongAdder();
  private final AtomicReference<String> lastFailure = new AtomicReference<>();
  private Thread loader;

  private ExecutorEngine(
      Settings settings, String executorId, String host, Consumer<ExecutorMessage> driver) {
    this.settings = settings;
    this.executorId = executorId;
    this.host = host;
    this.driver = driver;
    // As many again as are in the batch: the next documents wait with their prompts made.
    this.room = new Semaphore(2 * settings.value(Knobs.MAX_BATCH), true);
  }

  /**
   * Begins to load the engine of this JVM.
   *
   * @param driver takes messages; returns when they have arrived
   */
  static ExecutorEngine start(
      Settings settings,
      ExecutorResources resources,
      String executorId,
      String host,
      Consumer<ExecutorMessage> driver) {
    ExecutorEngine started = new ExecutorEngine(settings, executorId, host, driver);
    if (!CURRENT.compareAndSet(null, started)) {
      throw new IllegalStateException(
          "this JVM already has an engine; stop the other SparkContext first");
    }
    started.loader = new Thread(() -> started.load(resources), "kvfreeze-engine-loader");
    started.loader.setDaemon(true);
    started.loader.start();
    return started;
  }

  /**
   * The engine's owner in this JVM.
   *
   * @throws IllegalStateException when the plugin is not loaded
   */
  public static ExecutorEngine current() {
    ExecutorEngine current = CURRENT.get();
    if (current == null) {
      throw new IllegalStateException(
          "this executor has no engine; set spark.plugins=" + KvFreezePlugin.class.getName());
    }
    return current;
  }

  private void load(ExecutorResources resources) {
    long start = System.nanoTime();
    try {
      Engine opened = EngineFactory.of(settings).open(settings, resources);
      DeviceInfo device = opened.device();
      String required = settings.value(Knobs.REQUIRED_PROVIDER);
      if (!device.provider().startsWith(required)) {
        closeWithModel(opened);
        throw new ConfigurationException(
            "engine.requiredProvider is %s, this executor has %s on %s; see why in its log, or drop"
                    .formatted(required, device.provider(), device.device())
                + " the setting");
      }
      driver.accept(
          new ExecutorMessage.EngineReady(
              executorId,
              host,
              device.device(),
              device.provider(),
              device.threads(),
              (System.nanoTime() - start) / 1_000_000));
      if (!engine.complete(opened)) {
        closeWithModel(opened);
      }
    } catch (Throwable failure) {
      // Errors too (no memory for the weights or the pool): the tasks must see them.
      engine.completeExceptionally(failure);
      report(failure);
    }
  }

  /**
   * The engine, once it is loaded.
   *
   * @throws EngineUnavailableException with a readable cause
   */
  public Engine await() throws InterruptedException {
    try {
      return engine.get();
    } catch (ExecutionException e) {
      report(e.getCause());
      throw new EngineUnavailableException(describe(e.getCause()), e.getCause());
    }
  }

  /**
   * Tells the driver that nothing more can be done here; thrown by a task, whose documents go to
   * another executor. One whose device is lost ends, so that Spark starts a fresh one.
   */
  public EngineUnavailableException ended(Throwable failure) {
    report(failure);
    if (failure instanceof DeviceLostError && !alone()) {
      LostDeviceExit.begin(describe(failure));
    }
    return new EngineUnavailableException(describe(failure), failure);
  }

  /** In local mode the executor is the driver's process, and there is no other. */
  private boolean alone() {
    return executorId.equals("driver");
  }

  private void report(Throwable failure) {
    if (failure instanceof DeviceLostError && !alone()) {
      driver.accept(new ExecutorMessage.EngineFailed(executorId, host, false, describe(failure)));
      return;
    }
    boolean everywhere =
        failure instanceof ModelFileException
            || failure instanceof ConfigurationException
            || failure instanceof IllegalArgumentException
            || failure instanceof Error
            || engine.isDone() && !engine.isCompletedExceptionally();
    driver.accept(
        new ExecutorMessage.EngineFailed(executorId, host, everywhere, describe(failure)));
  }

  private static String describe(Throwable failure) {
    // The messages of these say all; of others the class is needed too.
    return failure instanceof ModelFileException
            || failure instanceof ConfigurationException
            || failure instanceof CudaUnavailableException
            || failure instanceof DeviceLostError
        ? failure.getMessage()
        : failure.toString();
  }

  /** Waits for room for one more document in flight on this executor. */
  public void acquire() throws InterruptedException {
    room.acquire();
  }

  /** Takes room for one more document in flight if there is some now. */
  public boolean tryAcquire() {
    return room.tryAcquire();
  }

  /** Gives the room of one document back. */
  public void release() {
    room.release();
  }

  /** Counts a document that ended well. */
  public void countOk(long documentCost) {
    documentsOk.increment();
    cost.add(documentCost);
  }

  /** Counts a document that failed. */
  public void countFailed(long documentCost, String description) {
    documentsFailed.increment();
    cost.add(documentCost);
    lastFailure.set(description);
  }

  /** Tells the driver the counters now, so that the sum of a job does not miss its end. */
  public void tellProgress() {
    driver.accept(progress());
  }

  public String executorId() {
    return executorId;
  }

  public String host() {
    return host;
  }

  ExecutorMessage.Progress progress() {
    Engine opened = engine.isDone() && !engine.isCompletedExceptionally() ? engine.join() : null;
    ProgressSnapshot snapshot =
        opened != null
            ? opened.progress()
            : new ProgressSnapshot(0, 0, 0, 0, 0, 0, settings.value(Knobs.POOL_BYTES), 0);
    return new ExecutorMessage.Progress(
        executorId,
        documentsOk.sum(),
        documentsFailed.sum(),
        cost.sum(),
        snapshot.queued(),
        snapshot.running(),
        snapshot.promptTokens(),
        snapshot.generatedTokens(),
        snapshot.residentKvBytes(),
        snapshot.poolBytes(),
        snapshot.coldKvBytes(),
        lastFailure.get(),
        opened == null ? null : opened.kernelCheck(),
        opened == null ? null : opened.profile().orElse(null));
  }

  /** Closes the engine and its model; a second call does nothing. */
  @Override
  public void close() {
    if (!CURRENT.compareAndSet(this, null)) {
      return;
    }
    // A loader that is not ready yet closes what it opens.
    engine.completeExceptionally(new IllegalStateException("the executor is shutting down"));
    if (!engine.isCompletedExceptionally()) {
      closeWithModel(engine.join());
    }
  }

  private static void closeWithModel(Engine engine) {
    LanguageModel model = engine.model();
    engine.close();
    model.close();
  }
}
