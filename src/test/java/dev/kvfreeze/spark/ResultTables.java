package dev.kvfreeze.spark;

import java.nio.file.Path;
import java.util.List;
import java.util.function.Function;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** Reads result tables as a user would: the folder, with no schema given. */
final class ResultTables {
  private ResultTables() {}

  static List<Row> rows(Path output, String table) {
    return read(output, table, Dataset::collectAsList);
  }

  static <T> T read(Path output, String table, Function<Dataset<Row>, T> use) {
    SparkSession spark =
        SparkSession.builder()
            .master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .getOrCreate();
    try {
      return use.apply(spark.read().parquet(output.resolve(table).toString()));
    } finally {
      spark.stop();
    }
  }
}
