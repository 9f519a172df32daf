package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.engine.TimeProfile;
import dev.kvfreeze.spark.conf.ErrorBudget;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.spark.SparkContext;

/**
 * What the executors told the driver. Stops the job when an engine cannot be had anywhere, or when
 * too many documents fail. One for each SparkContext, of which a JVM has one.
 */
public final class JobMonitor implements AutoCloseable {
  private static final AtomicReference<JobMonitor> CURRENT = new AtomicReference<>();

  private final SparkContext context;
  private final Map<String, ExecutorMessage.Progress> progress = new ConcurrentHashMap<>();
  private final Map<String, ExecutorMessage.EngineReady> ready = new ConcurrentHashMap<>();
  private final AtomicReference<Stop> stop = new AtomicReference<>();
  private volatile boolean workEnded;
  private volatile Limit limit = new Limit(new ErrorBudget(Long.MAX_VALUE, 1), Long.MAX_VALUE);

  /** Why the job was stopped. */
  public record Stop(Cause cause, String message) {
    /** Kinds of reasons. */
    public enum Cause {
      ENGINE,
      ERROR_BUDGET,
      OUTPUT
    }
  }

  private record Limit(ErrorBudget budget, long documents) {}

  private JobMonitor(SparkContext context) {
    this.context = context;
  }

  static JobMonitor start(SparkContext context) {
    JobMonitor monitor = new JobMonitor(context);
    CURRENT.set(monitor);
    return monitor;
  }

  /** The monitor of this JVM's SparkContext. */
  public static JobMonitor current() {
    JobMonitor monitor = CURRENT.get();
    if (monitor == null) {
      throw new IllegalStateException(
          "the plugin is not loaded; set spark.plugins=" + KvFreezePlugin.class.getName());
    }
    return monitor;
  }

  /** Stops the job when more of these documents fail than the budget allows. */
  public void limit(ErrorBudget budget, long documents) {
    limit = new Limit(budget, documents);
  }

  void receive(ExecutorMessage message) {
    if (message instanceof ExecutorMessage.Progress counters) {
      progress.put(counters.executorId(), counters);
      long failed = progress.values().stream().mapToLong(c -> c.documentsFailed()).sum();
      Limit allowed = limit;
      if (allowed.budget().exceeded(failed, allowed.documents())) {
        stop(
            Stop.Cause.ERROR_BUDGET,
            "%d of %d documents failed, more than job.errorBudget allows; newest: %s"
                .formatted(failed, allowed.documents(), counters.lastFailure()));
      }
    } else if (message instanceof ExecutorMessage.EngineReady engine) {
      ready.put(engine.executorId(), engine);
    } else if (message instanceof ExecutorMessage.EngineFailed failed && failed.everywhere()) {
      stop(
          Stop.Cause.ENGINE,
          "executor %s on %s: %s".formatted(failed.executorId(), failed.host(), failed.message()));
    }
  }

  /** Cancels all Spark jobs; the first reason is kept. */
  public void stop(Stop.Cause cause, String message) {
    stop.compareAndSet(null, new Stop(cause, message));
    if (!workEnded) {
      // Each time: a Spark job may have begun just after the last.
      context.cancelAllJobs();
    }
  }

  /** From now on nothing is cancelled: what follows sums up. */
  public void workEnded() {
    workEnded = true;
  }

  /** Why the job was stopped, if it was. */
  public Optional<Stop> stopped() {
    return Optional.ofNullable(stop.get());
  }

  /** The newest counters of each executor. */
  public Collection<ExecutorMessage.Progress> progress() {
    return List.copyOf(progress.values());
  }

  /** Engines that were opened. */
  public List<ExecutorMessage.EngineReady> engines() {
    return new ArrayList<>(ready.values());
  }

  /** What each executor found of its kernels, the same once. */
  public List<String> kernelChecks() {
    return progress.values().stream()
        .filter(counters -> counters.kernelCheck() != null)
        .map(
            counters ->
                counters.kernelCheck().startsWith("good")
                    ? counters.kernelCheck()
                    : "executor " + counters.executorId() + ": " + counters.kernelCheck())
        .distinct()
        .toList();
  }

  /** Where the time of all executors went; empty where nobody asked. */
  public Optional<TimeProfile> profile() {
    return progress.values().stream()
        .map(ExecutorMessage.Progress::profile)
        .filter(Objects::nonNull)
        .reduce(TimeProfile::plus);
  }

  @Override
  public void close() {
    CURRENT.compareAndSet(this, null);
  }
}
