package dev.kvfreeze.spark.output;

import java.io.IOException;
import java.sql.Timestamp;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileContext;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;

/** The table of runs: a file a run, written at its start and replaced at its end. */
public final class RunsTable {
  public static final String RUNNING = "running";
  public static final String FINISHED = "finished";
  public static final String STOPPED = "stopped";
  public static final String INTERRUPTED = "interrupted";

  private final OutputFolder folder;
  private final Configuration hadoop;

  public RunsTable(OutputFolder folder, Configuration hadoop) {
    this.folder = folder;
    this.hadoop = hadoop;
  }

  /** Writes or replaces the row of a run, at once for readers. */
  public void write(String runId, TableRow row) {
    Path temporary =
        new Path(OutputFolder.temporary(folder.path(), runId), "run-" + runId + ".parquet");
    Path runs = folder.table(OutputSchemas.RUNS);
    try {
      folder.fileSystem().delete(temporary, false);
      ParquetTableFile.write(temporary, OutputSchemas.RUNS, List.of(row), hadoop);
      folder.fileSystem().mkdirs(runs);
      FileContext.getFileContext(folder.path().toUri(), hadoop)
          .rename(temporary, new Path(runs, "run-" + runId + ".parquet"), Options.Rename.OVERWRITE);
    } catch (IOException e) {
      throw new OutputException(
          "output %s: the row of this run cannot be written: %s"
              .formatted(folder.path(), e.getMessage()),
          e);
    }
  }

  /** Marks runs that never ended. Only with the lock held: such a run was killed. */
  public int markInterrupted(SparkSession spark) {
    try {
      if (folder.files(OutputSchemas.RUNS).isEmpty()) {
        return 0;
      }
    } catch (IOException e) {
      throw new OutputException(
          "output %s: its runs cannot be listed: %s".formatted(folder.path(), e.getMessage()), e);
    }
    List<Row> rows =
        spark
            .read()
            .schema(OutputSchemas.RUNS.sparkSchema())
            .parquet(folder.table(OutputSchemas.RUNS).toString())
            .where(functions.col("status").equalTo(RUNNING))
            .collectAsList();
    for (Row row : rows) {
      TableRow copy = new TableRow(OutputSchemas.RUNS);
      for (Column column : OutputSchemas.RUNS.columns()) {
        Object value = row.getAs(column.name());
        copy.set(column.name(), value instanceof Timestamp time ? time.toInstant() : value);
      }
      String runId = row.getAs("run_id");
      write(runId, copy.set("status", INTERRUPTED));
    }
    return rows.size();
  }
}
