package dev.kvfreeze.spark.input;

import dev.kvfreeze.spark.conf.NearestName;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.util.SerializableConfiguration;

/** Reads an input as documents. */
public final class DocumentReader {
  private static final int SLICES_A_CORE = 4;

  private final SparkSession spark;
  private final InputOptions options;
  private final InputFiles files;

  /**
   * @throws InputException when the path is missing, empty or of mixed formats
   */
  public DocumentReader(SparkSession spark, InputOptions options) {
    this.spark = spark;
    this.options = options;
    this.files = InputFiles.find(options, spark.sparkContext().hadoopConfiguration());
  }

  /** The format, found by the files' endings where it was not given. */
  public InputFormat format() {
    return files.format();
  }

  /**
   * The documents, in the order of the input, lazily.
   *
   * @throws InputException when a column is missing or of another type
   */
  public JavaRDD<InputDocument> documents() {
    return files.format() == InputFormat.TEXT ? textFiles() : table();
  }

  /** Not by Spark's own source of files, which leaves out empty ones. */
  private JavaRDD<InputDocument> textFiles() {
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    int slices = Math.min(files.files().size(), SLICES_A_CORE * context.defaultParallelism());
    Broadcast<SerializableConfiguration> hadoop =
        context.broadcast(
            new SerializableConfiguration(spark.sparkContext().hadoopConfiguration()));
    String root = files.root().toString();
    return context
        .parallelize(files.files(), slices)
        .map(file -> TextFile.read(file, relative(root, file), hadoop.value().value()));
  }

  private JavaRDD<InputDocument> table() {
    Dataset<Row> rows;
    try {
      rows = rows();
    } catch (InputException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new InputException(
          "input %s: cannot be read as %s: %s"
              .formatted(
                  options.path(), files.format().name().toLowerCase(Locale.ROOT), e.getMessage()),
          e);
    } catch (Exception e) {
      // Scala code throws checked exceptions without declaring them.
      throw new InputException(
          "input %s: %s"
              .formatted(
                  options.path(), e instanceof AnalysisException a ? a.getMessage() : e.toString()),
          e);
    }
    boolean bytes = rows.schema().apply(options.textColumn()).dataType() == DataTypes.BinaryType;
    Dataset<Row> selected =
        rows.select(
            functions.col(quoted(options.idColumn())).cast(DataTypes.StringType),
            functions.col(quoted(options.textColumn())));
    return selected
        .javaRDD()
        .map(
            row ->
                bytes && !row.isNullAt(1)
                    ? TextDecoder.decode(row.getString(0), row.getAs(1))
                    : InputDocument.of(row.getString(0), row.getAs(1), List.of(), null));
  }

  private Dataset<Row> rows() {
    Dataset<Row> rows =
        switch (files.format()) {
          case PARQUET ->
              spark.read().option("recursiveFileLookup", "true").parquet(options.path());
          case JSON -> spark.read().option("recursiveFileLookup", "true").json(options.path());
          case CSV ->
              spark
                  .read()
                  .option("recursiveFileLookup", "true")
                  .option("header", "true")
                  .option("multiLine", "true")
                  .option("escape", "\"")
                  .csv(options.path());
          case TEXT, AUTO -> throw new IllegalStateException(files.format().name());
        };
    requireColumn(rows, options.idColumn(), "--id-column");
    requireColumn(rows, options.textColumn(), "--text-column");
    var type = rows.schema().apply(options.textColumn()).dataType();
    if (type != DataTypes.StringType && type != DataTypes.BinaryType) {
      throw new InputException(
          "input %s: column %s is %s, the text must be string or binary; choose another with"
                  .formatted(options.path(), options.textColumn(), type.simpleString())
              + " --text-column");
    }
    return rows;
  }

  private void requireColumn(Dataset<Row> rows, String column, String option) {
    List<String> columns = Arrays.asList(rows.columns());
    if (!columns.contains(column)) {
      throw new InputException(
          "input %s: it has no column %s but %s; choose with %s (%s?)"
              .formatted(options.path(), column, columns, option, NearestName.of(column, columns)));
    }
  }

  private static String quoted(String column) {
    return "`" + column.replace("`", "``") + "`";
  }

  /** A file's name relative to the root. Both are URIs; a scheme may be written in several ways. */
  private static String relative(String root, String file) {
    String base = new Path(root).toUri().getPath();
    String name = new Path(file).toUri().getPath();
    if (name.startsWith(base)) {
      String relative = name.substring(base.length());
      return relative.startsWith("/") ? relative.substring(1) : relative;
    }
    return name;
  }
}
