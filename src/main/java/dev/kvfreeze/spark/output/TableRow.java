package dev.kvfreeze.spark.output;

/** A row being made: values by column name, checked against the schema. */
public final class TableRow {
  private final TableSchema schema;
  private final Object[] values;

  public TableRow(TableSchema schema) {
    this.schema = schema;
    this.values = new Object[schema.columns().size()];
  }

  /** Sets a column; null leaves it empty. */
  public TableRow set(String column, Object value) {
    int index = schema.index(column);
    Class<?> wanted = schema.columns().get(index).type().valueClass();
    if (value != null && !wanted.isInstance(value)) {
      throw new IllegalArgumentException(
          "column %s.%s takes %s, found %s"
              .formatted(
                  schema.name(), column, wanted.getSimpleName(), value.getClass().getSimpleName()));
    }
    values[index] = value;
    return this;
  }

  Object value(int index) {
    Object value = values[index];
    if (value == null && schema.columns().get(index).required()) {
      throw new IllegalStateException(
          "column %s.%s is required".formatted(schema.name(), schema.columns().get(index).name()));
    }
    return value;
  }
}
