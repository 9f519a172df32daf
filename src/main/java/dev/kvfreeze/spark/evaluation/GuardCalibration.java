package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.spark.conf.ConfFiles;
import dev.kvfreeze.spark.conf.ConfigurationException;
import dev.kvfreeze.spark.conf.Knob;
import dev.kvfreeze.spark.conf.PolicyKnobs;
import dev.kvfreeze.spark.job.Console;
import dev.kvfreeze.spark.output.OutputSchemas;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;

/** The entropy guard's threshold from the entropies of a run with the full cache. */
public final class GuardCalibration {
  private final double percentile;
  private final Path file;

  /**
   * @param percentile above 0, below 100
   * @param file the policy file to write
   */
  public GuardCalibration(double percentile, String file) {
    if (!(percentile > 0 && percentile < 100)) {
      throw new ConfigurationException(
          "--percentile is %s, it must be above 0 and below 100".formatted(percentile));
    }
    this.percentile = percentile;
    this.file = Path.of(file);
    if (this.file.getParent() != null && !Files.isDirectory(this.file.getParent())) {
      throw new ConfigurationException(
          "--write %s: there is no folder %s".formatted(file, this.file.getParent()));
    }
  }

  /**
   * Reads {@code steps} of an output and writes the policy with its guard on.
   *
   * @param policy whose file is the base
   */
  public void write(String output, String policy, Console console) throws IOException {
    SparkConf conf = new SparkConf();
    conf.setIfMissing("spark.master", "local[*]");
    conf.setIfMissing("spark.app.name", "kvfreeze calibrate");
    Configuration hadoop = SparkHadoopUtil.get().newConfiguration(conf);
    ConfFiles.Found base =
        new ConfFiles(hadoop)
            .find("policies", policy, ".conf")
            .orElseThrow(
                () ->
                    new ConfigurationException("there is no policy " + policy + " to start from"));
    double threshold;
    long steps;
    SparkSession spark = SparkSession.builder().config(conf).getOrCreate();
    try {
      Row row =
          spark
              .read()
              .schema(OutputSchemas.STEPS.sparkSchema())
              .parquet(output + "/" + OutputSchemas.STEPS.name())
              .agg(
                  functions.percentile(functions.col("entropy"), functions.lit(percentile / 100)),
                  functions.count("*"))
              .collectAsList()
              .get(0);
      threshold = row.getDouble(0);
      steps = row.getLong(1);
    } finally {
      spark.stop();
    }
    String text =
        base.text().stripTrailing()
            + "\n\n# The entropy guard: the %s percentile of %d steps of the full cache (%s).\n"
                .formatted(number(percentile), steps, output)
            + "%s%s   entropy\n".formatted(Knob.PREFIX, PolicyKnobs.GUARD.name())
            + "%s%s   %s\n"
                .formatted(Knob.PREFIX, PolicyKnobs.GUARD_THRESHOLD.name(), number(threshold));
    Files.writeString(file, text, StandardCharsets.UTF_8);
    console.result(
        "entropy of %d steps: %s percentile %s nats; written to %s; use it with --policy %s"
            .formatted(steps, number(percentile), number(threshold), file, file));
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, "%.4g", value);
  }
}
