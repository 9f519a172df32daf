package dev.kvfreeze.spark.output;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;

/** What the rows of an output say about documents, for one model and configuration. */
public final class EarlierResults {
  /** Of a new output. */
  public static final EarlierResults NONE = new EarlierResults(Map.of());

  private final Map<String, Earlier> byDocument;

  private record Earlier(int attempts, boolean done) {}

  private EarlierResults(Map<String, Earlier> byDocument) {
    this.byDocument = byDocument;
  }

  /** Reads the output's {@code generations}; empty when there are none yet. */
  public static EarlierResults read(
      SparkSession spark, OutputFolder folder, String modelHash, String fingerprint) {
    Map<String, Earlier> byDocument = new HashMap<>();
    for (Row row :
        rows(spark, folder)
            .where(functions.col("model_hash").equalTo(modelHash))
            .where(functions.col("configuration_fingerprint").equalTo(fingerprint))
            .groupBy("document_hash")
            .agg(
                functions.max("attempt"),
                functions.max(functions.col("status").equalTo(OutputSchemas.OK)))
            .collectAsList()) {
      byDocument.put(row.getString(0), new Earlier(row.getInt(1), row.getBoolean(2)));
    }
    return new EarlierResults(byDocument);
  }

  /** All rows of the output's {@code generations}. */
  public static Dataset<Row> rows(SparkSession spark, OutputFolder folder) {
    try {
      if (folder.files(OutputSchemas.GENERATIONS).isEmpty()) {
        return spark.createDataFrame(List.of(), OutputSchemas.GENERATIONS.sparkSchema());
      }
    } catch (IOException e) {
      throw new OutputException(
          "output %s: its tables cannot be listed: %s".formatted(folder.path(), e.getMessage()), e);
    }
    return spark
        .read()
        .schema(OutputSchemas.GENERATIONS.sparkSchema())
        .parquet(folder.table(OutputSchemas.GENERATIONS).toString());
  }

  /** Whether the document has a row of status ok. */
  public boolean done(String documentHash) {
    Earlier earlier = byDocument.get(documentHash);
    return earlier != null && earlier.done();
  }

  /** How often the document was tried. */
  public int attempts(String documentHash) {
    Earlier earlier = byDocument.get(documentHash);
    return earlier == null ? 0 : earlier.attempts();
  }
}
