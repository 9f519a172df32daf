package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.spark.job.Console;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerTaskEnd;

/** A line for each example that ends. */
final class EvaluationProgress extends SparkListener {
  private final int examples;
  private final Console console;
  private final long start = System.nanoTime();
  private int done;

  EvaluationProgress(int examples, Console console) {
    this.examples = examples;
    this.console = console;
  }

  @Override
  public synchronized void onTaskEnd(SparkListenerTaskEnd end) {
    // What follows reads the results.
    if (!end.taskInfo().successful() || done == examples) {
      return;
    }
    done++;
    long seconds = (System.nanoTime() - start) / 1_000_000_000L;
    console.say(
        "  %d of %d examples, %s so far, about %s to go"
            .formatted(
                done,
                examples,
                Console.time(seconds),
                Console.time(seconds * (examples - done) / done)));
  }
}
