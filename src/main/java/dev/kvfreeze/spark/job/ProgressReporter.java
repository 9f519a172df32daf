package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.plugin.ExecutorMessage;
import dev.kvfreeze.spark.plugin.JobMonitor;
import java.time.Duration;
import java.util.Collection;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/** A line of progress every few seconds, and one for each engine that opens. */
final class ProgressReporter implements AutoCloseable {
  private final Console console;
  private final JobMonitor monitor;
  private final WorkPlan plan;
  private final long start = System.nanoTime();
  private final Set<String> announced = new HashSet<>();
  private final ScheduledExecutorService timer;
  private Sample before;

  /** Sums over the executors at one moment. */
  private record Sample(
      long nanos,
      long ok,
      long failed,
      long cost,
      long prompt,
      long generated,
      long resident,
      long pool,
      long cold,
      int running) {

    static Sample of(Collection<ExecutorMessage.Progress> executors) {
      long[] sums = new long[8];
      int running = 0;
      for (ExecutorMessage.Progress executor : executors) {
        sums[0] += executor.documentsOk();
        sums[1] += executor.documentsFailed();
        sums[2] += executor.cost();
        sums[3] += executor.promptTokens();
        sums[4] += executor.generatedTokens();
        sums[5] += executor.residentKvBytes();
        sums[6] += executor.poolBytes();
        sums[7] += executor.coldKvBytes();
        running += executor.running();
      }
      return new Sample(
          System.nanoTime(),
          sums[0],
          sums[1],
          sums[2],
          sums[3],
          sums[4],
          sums[5],
          sums[6],
          sums[7],
          running);
    }
  }

  ProgressReporter(Console console, JobMonitor monitor, WorkPlan plan, Duration interval) {
    this.console = console;
    this.monitor = monitor;
    this.plan = plan;
    this.before = Sample.of(monitor.progress());
    this.timer =
        Executors.newSingleThreadScheduledExecutor(
            task -> {
              Thread thread = new Thread(task, "kvfreeze-progress-line");
              thread.setDaemon(true);
              return thread;
            });
    if (!interval.isZero()) {
      ScheduledFuture<?> unused =
          timer.scheduleWithFixedDelay(
              this::report, interval.toMillis(), interval.toMillis(), TimeUnit.MILLISECONDS);
    }
  }

  private synchronized void report() {
    announceEngines();
    if (announced.isEmpty()) {
      console.say("[%s] loading the model".formatted(elapsed()));
      return;
    }
    Sample now = Sample.of(monitor.progress());
    double seconds = Math.max(1e-3, (now.nanos() - before.nanos()) / 1e9);
    long done = now.ok() + now.failed();
    StringBuilder line = new StringBuilder();
    line.append("[%s] %d/%d documents".formatted(elapsed(), done, plan.assignments().size()));
    if (now.failed() > 0) {
      line.append(", %d failed".formatted(now.failed()));
    }
    line.append(", %d running".formatted(now.running()));
    line.append(
        " | tokens/s: prefill %s, decode %s"
            .formatted(
                Console.number((now.prompt() - before.prompt()) / seconds),
                Console.number((now.generated() - before.generated()) / seconds)));
    if (now.pool() > 0) {
      line.append(
          " | KV %s (%.0f %% of the pool), %s cold"
              .formatted(
                  Console.bytes(now.resident()),
                  100.0 * now.resident() / now.pool(),
                  Console.bytes(now.cold())));
    }
    if (now.cost() > 0 && now.cost() < plan.totalCost()) {
      double left = (double) (plan.totalCost() - now.cost()) / now.cost();
      long ran = (now.nanos() - start) / 1_000_000_000;
      line.append(" | about %s left".formatted(Console.time(Math.round(ran * left))));
    }
    console.say(line.toString());
    before = now;
  }

  private void announceEngines() {
    for (ExecutorMessage.EngineReady engine : monitor.engines()) {
      if (announced.add(engine.executorId())) {
        console.say(
            "[%s] engine ready on %s after %.1f s: %s, %s kernels, %d threads"
                .formatted(
                    elapsed(),
                    engine.host(),
                    engine.loadMillis() / 1000.0,
                    engine.device(),
                    engine.provider(),
                    engine.threads()));
      }
    }
  }

  private String elapsed() {
    return Console.time((System.nanoTime() - start) / 1_000_000_000);
  }

  @Override
  public void close() {
    timer.shutdownNow();
    synchronized (this) {
      announceEngines();
    }
  }
}
