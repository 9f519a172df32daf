package dev.kvfreeze.spark;

import dev.kvfreeze.spark.toy.ToyEngineFactory;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Runs a job in this JVM with Spark in local mode. */
final class LocalJob {
  /** Settings that spark-submit would give, small for tests. */
  static final Map<String, String> SPARK =
      Map.of(
          "spark.master", "local[2]",
          "spark.ui.enabled", "false",
          "spark.sql.shuffle.partitions", "2",
          "spark.kvfreeze.job.progressInterval", "200ms");

  private LocalJob() {}

  /** With the toy engine. */
  static JobResult toy(String... arguments) {
    List<String> all = new ArrayList<>(List.of(arguments));
    all.addAll(List.of("--set", "engine.factory=" + ToyEngineFactory.class.getName()));
    return run(all.toArray(String[]::new));
  }

  static JobResult run(String... arguments) {
    PrintStream out = System.out;
    PrintStream err = System.err;
    ByteArrayOutputStream output = new ByteArrayOutputStream();
    ByteArrayOutputStream errors = new ByteArrayOutputStream();
    SPARK.forEach(System::setProperty);
    System.setOut(new PrintStream(output, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(errors, true, StandardCharsets.UTF_8));
    try {
      int exitCode = Main.execute(arguments);
      return new JobResult(
          exitCode,
          output.toString(StandardCharsets.UTF_8),
          errors.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(out);
      System.setErr(err);
      SPARK.keySet().forEach(System::clearProperty);
    }
  }
}
