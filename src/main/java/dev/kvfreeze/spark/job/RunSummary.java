package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.output.OutputFolder;
import dev.kvfreeze.spark.output.OutputSchemas;
import java.time.Duration;

/** The result of a run in a few lines. */
final class RunSummary {
  private final Console console;
  private final OutputFolder output;

  RunSummary(Console console, OutputFolder output) {
    this.console = console;
    this.output = output;
  }

  void print(WorkPlan plan, RunTotals totals, Duration elapsed) {
    long missing = plan.assignments().size() - totals.ok() - totals.failed();
    console.result("");
    console.result(
        "%d done, %d failed%s in %s; %d done before"
            .formatted(
                totals.ok(),
                totals.failed(),
                missing > 0 ? ", %d not reached".formatted(missing) : "",
                Console.time(elapsed.toSeconds()),
                plan.doneBefore()));
    if (totals.ok() > 0) {
      double seconds = Math.max(1e-3, elapsed.toMillis() / 1000.0);
      console.result(
          "  tokens      %,d read, %,d generated; %s documents an hour, start-up included"
              .formatted(
                  totals.promptTokens(),
                  totals.generatedTokens(),
                  Console.number(totals.ok() * 3600 / seconds)));
      console.result(
          "  active KV   peak %.1f %%, mean %.1f %% of a document's tokens; mean %s of %s"
              .formatted(
                  100 * totals.peakActiveShare(),
                  100 * totals.meanActiveShare(),
                  Console.bytes(totals.meanResidentKvBytes()),
                  Console.bytes(totals.fullKvBytes())));
    }
    for (String failure : totals.failures()) {
      console.result("  failed      " + failure);
    }
    if (totals.failed() > totals.failures().size()) {
      console.result(
          "              ... and %d more; see status, error_message"
              .formatted(totals.failed() - totals.failures().size()));
    }
    console.result("  rows        %s".formatted(output.table(OutputSchemas.GENERATIONS)));
  }
}
