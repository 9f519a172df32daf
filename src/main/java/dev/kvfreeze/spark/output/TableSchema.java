package dev.kvfreeze.spark.output;

import static org.apache.parquet.schema.LogicalTypeAnnotation.stringType;
import static org.apache.parquet.schema.LogicalTypeAnnotation.timestampType;
import static org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName.BINARY;
import static org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName.DOUBLE;
import static org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName.INT32;
import static org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName.INT64;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.parquet.schema.LogicalTypeAnnotation.TimeUnit;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.Type;
import org.apache.parquet.schema.Type.Repetition;
import org.apache.parquet.schema.Types;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/**
 * A result table: its folder and its columns, and the same as Spark's and as Parquet's schema.
 *
 * @param name of the folder below the output
 */
public record TableSchema(String name, List<Column> columns) {

  /** The column of this name. */
  public int index(String column) {
    for (int i = 0; i < columns.size(); i++) {
      if (columns.get(i).name().equals(column)) {
        return i;
      }
    }
    throw new IllegalArgumentException("table " + name + " has no column " + column);
  }

  /** Spark's schema, with units and descriptions as comments. */
  public StructType sparkSchema() {
    StructType schema = new StructType();
    for (Column column : columns) {
      schema = schema.add(column.name(), sparkType(column), !column.required(), column.comment());
    }
    return schema;
  }

  MessageType parquetSchema() {
    Types.MessageTypeBuilder message = Types.buildMessage();
    columns.forEach(column -> message.addField(parquetType(column)));
    return message.named("kvfreeze_" + name);
  }

  /** What Spark reads its schema, comments included, from. */
  Map<String, String> fileMetadata() {
    Map<String, String> metadata = new HashMap<>();
    metadata.put("org.apache.spark.sql.parquet.row.metadata", sparkSchema().json());
    metadata.put("kvfreeze.schema.version", Integer.toString(OutputSchemas.VERSION));
    return metadata;
  }

  private static DataType sparkType(Column column) {
    return switch (column.type()) {
      case STRING -> DataTypes.StringType;
      case INT -> DataTypes.IntegerType;
      case LONG -> DataTypes.LongType;
      case DOUBLE -> DataTypes.DoubleType;
      case TIMESTAMP -> DataTypes.TimestampType;
      case INT_LIST -> DataTypes.createArrayType(DataTypes.IntegerType, false);
      case STRING_LIST -> DataTypes.createArrayType(DataTypes.StringType, false);
    };
  }

  private static Type parquetType(Column column) {
    Repetition repetition = column.required() ? Repetition.REQUIRED : Repetition.OPTIONAL;
    String name = column.name();
    return switch (column.type()) {
      case STRING -> Types.primitive(BINARY, repetition).as(stringType()).named(name);
      case INT -> Types.primitive(INT32, repetition).named(name);
      case LONG -> Types.primitive(INT64, repetition).named(name);
      case DOUBLE -> Types.primitive(DOUBLE, repetition).named(name);
      case TIMESTAMP ->
          Types.primitive(INT64, repetition).as(timestampType(true, TimeUnit.MICROS)).named(name);
      case INT_LIST -> Types.list(repetition).requiredElement(INT32).named(name);
      case STRING_LIST ->
          Types.list(repetition).requiredElement(BINARY).as(stringType()).named(name);
    };
  }
}
