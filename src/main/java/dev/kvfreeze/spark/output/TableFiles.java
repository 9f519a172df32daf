package dev.kvfreeze.spark.output;

import java.io.IOException;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Files of rows that appear whole. */
public final class TableFiles {
  private TableFiles() {}

  /**
   * Writes rows as one file of a table.
   *
   * @param output qualified path of the output folder
   * @param name of the file, without its ending
   */
  public static void write(
      String output, TableSchema table, String name, List<TableRow> rows, Configuration hadoop)
      throws IOException {
    Path folder = OutputFolder.table(new Path(output), table);
    FileSystem fileSystem = folder.getFileSystem(hadoop);
    fileSystem.mkdirs(folder);
    Path temporary = new Path(folder, "_" + name + ".tmp");
    fileSystem.delete(temporary, false);
    ParquetTableFile.write(temporary, table, rows, hadoop);
    Path published = new Path(folder, name + ".parquet");
    fileSystem.delete(published, false);
    if (!fileSystem.rename(temporary, published)) {
      throw new IOException("cannot rename " + temporary + " to " + published);
    }
  }
}
