package dev.kvfreeze.spark.job;

import static org.apache.spark.sql.functions.avg;
import static org.apache.spark.sql.functions.coalesce;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.count;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.sum;
import static org.apache.spark.sql.functions.when;

import dev.kvfreeze.spark.output.EarlierResults;
import dev.kvfreeze.spark.output.OutputFolder;
import dev.kvfreeze.spark.output.OutputSchemas;
import java.util.List;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * What a run has done, from the rows it wrote.
 *
 * @param peakActiveShare most active tokens of a document as a share of its tokens, mean
 * @param meanActiveShare the same for the mean over its decode steps
 * @param failures the first few failed documents, with their errors
 */
record RunTotals(
    long ok,
    long failed,
    long promptTokens,
    long generatedTokens,
    double peakActiveShare,
    double meanActiveShare,
    double meanResidentKvBytes,
    double fullKvBytes,
    List<String> failures) {
  static final RunTotals NONE = new RunTotals(0, 0, 0, 0, 0, 0, 0, 0, List.of());
  private static final int SHOWN_FAILURES = 10;

  static RunTotals read(SparkSession spark, OutputFolder folder, String runId) {
    Dataset<Row> rows = EarlierResults.rows(spark, folder).where(col("run_id").equalTo(runId));
    Column tokens = col("prompt_tokens").plus(col("generated_tokens"));
    Column failed = col("status").equalTo(OutputSchemas.FAILED);
    Row sums =
        rows.agg(
                coalesce(sum(when(failed, 0).otherwise(1)), lit(0)).cast("long"),
                count(when(failed, 1)),
                coalesce(sum("prompt_tokens"), lit(0)).cast("long"),
                coalesce(sum("generated_tokens"), lit(0)).cast("long"),
                coalesce(avg(col("peak_active_tokens").divide(tokens)), lit(0.0)),
                coalesce(avg(col("mean_active_tokens").divide(tokens)), lit(0.0)),
                coalesce(avg("mean_resident_kv_bytes"), lit(0.0)),
                coalesce(avg("full_kv_bytes"), lit(0.0)))
            .first();
    List<String> failures =
        rows
            .where(failed)
            .orderBy("document_id")
            .select("document_id", "error_stage", "error_class", "error_message")
            .limit(SHOWN_FAILURES)
            .collectAsList()
            .stream()
            .map(
                row ->
                    "%s (%s, %s): %s"
                        .formatted(
                            row.getString(0), row.getString(1), row.getString(2), row.getString(3)))
            .toList();
    return new RunTotals(
        sums.getLong(0),
        sums.getLong(1),
        sums.getLong(2),
        sums.getLong(3),
        sums.getDouble(4),
        sums.getDouble(5),
        sums.getDouble(6),
        sums.getDouble(7),
        failures);
  }
}
