package dev.kvfreeze.spark.output;

import java.io.IOException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.api.WriteSupport;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.hadoop.util.HadoopOutputFile;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.io.api.RecordConsumer;

/** Writes rows of a table as one Parquet file. */
final class ParquetTableFile {
  private ParquetTableFile() {}

  static void write(Path file, TableSchema schema, List<TableRow> rows, Configuration hadoop)
      throws IOException {
    try (ParquetWriter<TableRow> writer =
        new Builder(HadoopOutputFile.fromPath(file, hadoop), schema)
            .withConf(hadoop)
            .withCompressionCodec(CompressionCodecName.SNAPPY)
            .build()) {
      for (TableRow row : rows) {
        writer.write(row);
      }
    }
  }

  private static final class Builder extends ParquetWriter.Builder<TableRow, Builder> {
    private final TableSchema schema;

    Builder(HadoopOutputFile file, TableSchema schema) {
      super(file);
      this.schema = schema;
    }

    @Override
    protected Builder self() {
      return this;
    }

    @Override
    protected WriteSupport<TableRow> getWriteSupport(Configuration hadoop) {
      return new RowWriteSupport(schema);
    }
  }

  private static final class RowWriteSupport extends WriteSupport<TableRow> {
    private final TableSchema schema;
    private RecordConsumer consumer;

    RowWriteSupport(TableSchema schema) {
      this.schema = schema;
    }

    @Override
    public WriteContext init(Configuration hadoop) {
      return new WriteContext(schema.parquetSchema(), schema.fileMetadata());
    }

    @Override
    public void prepareForWrite(RecordConsumer recordConsumer) {
      this.consumer = recordConsumer;
    }

    @Override
    public void write(TableRow row) {
      consumer.startMessage();
      for (int i = 0; i < schema.columns().size(); i++) {
        Object value = row.value(i);
        if (value != null) {
          Column column = schema.columns().get(i);
          consumer.startField(column.name(), i);
          add(column.type(), value);
          consumer.endField(column.name(), i);
        }
      }
      consumer.endMessage();
    }

    private void add(ColumnType type, Object value) {
      switch (type) {
        case STRING -> consumer.addBinary(Binary.fromString((String) value));
        case INT -> consumer.addInteger((Integer) value);
        case LONG -> consumer.addLong((Long) value);
        case DOUBLE -> consumer.addDouble((Double) value);
        case TIMESTAMP ->
            consumer.addLong(ChronoUnit.MICROS.between(Instant.EPOCH, (Instant) value));
        case INT_LIST -> {
          int[] items = (int[]) value;
          addList(items.length, i -> consumer.addInteger(items[i]));
        }
        case STRING_LIST -> {
          List<?> items = (List<?>) value;
          addList(items.size(), i -> consumer.addBinary(Binary.fromString((String) items.get(i))));
        }
      }
    }

    /** The three-level list of the Parquet format: list, repeated group, element. */
    private void addList(int size, java.util.function.IntConsumer element) {
      consumer.startGroup();
      if (size > 0) {
        consumer.startField("list", 0);
        for (int i = 0; i < size; i++) {
          consumer.startGroup();
          consumer.startField("element", 0);
          element.accept(i);
          consumer.endField("element", 0);
          consumer.endGroup();
        }
        consumer.endField("list", 0);
      }
      consumer.endGroup();
    }
  }
}
