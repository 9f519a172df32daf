package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.spark.job.Console;
import java.util.List;
import java.util.Locale;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.functions;

/** Means over the examples, by length and policy. */
final class EvaluationReport {
  private EvaluationReport() {}

  static void print(Dataset<Row> trials, EvaluationRun run, Console console) {
    Column peak =
        functions.avg(
            functions.col("peak_resident_kv_bytes").divide(functions.col("full_kv_bytes")));
    Column mean =
        functions.avg(
            functions.col("mean_resident_kv_bytes").divide(functions.col("full_kv_bytes")));
    List<Row> rows =
        trials
            .where(functions.col("model_hash").equalTo(run.modelHash()))
            .where(functions.col("question").equalTo(run.decision()))
            .groupBy("length", "family", "policy")
            .agg(
                functions.count("*"),
                functions.avg("score"),
                functions.avg("agreement"),
                functions.avg("divergence"),
                functions.avg(functions.log("perplexity")),
                peak,
                mean)
            .orderBy("length", "family", "policy")
            .collectAsList();
    console.result(
        String.format(
            "%-8s%-13s%-38s%4s%8s%8s%10s%11s%8s%8s",
            "length",
            "family",
            "policy",
            "n",
            "score",
            "same",
            "KL",
            "perplexity",
            "peak",
            "mean"));
    for (Row row : rows) {
      console.result(
          String.format(
              Locale.ROOT,
              "%-8d%-13s%-38s%4d%8s%8.3f%10s%11s%7.1f%%%7.1f%%",
              row.getInt(0),
              row.getString(1),
              row.getString(2),
              row.getLong(3),
              number("%.1f", row.get(4)),
              row.getDouble(5),
              number("%.4f", row.get(6)),
              row.get(7) == null ? "" : number("%.3f", Math.exp(row.getDouble(7))),
              100 * row.getDouble(8),
              100 * row.getDouble(9)));
    }
    console.result("Rows: " + run.output() + "/trials; figures: notebooks/quality.ipynb");
  }

  private static String number(String format, Object value) {
    return value == null ? "" : String.format(Locale.ROOT, format, value);
  }
}
