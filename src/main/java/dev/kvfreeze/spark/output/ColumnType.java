package dev.kvfreeze.spark.output;

/** The types of columns, with the Java class of their values. */
public enum ColumnType {
  STRING(String.class),
  INT(Integer.class),
  LONG(Long.class),
  DOUBLE(Double.class),
  /** An instant in UTC, microseconds. */
  TIMESTAMP(java.time.Instant.class),
  INT_LIST(int[].class),
  STRING_LIST(java.util.List.class);

  private final Class<?> valueClass;

  ColumnType(Class<?> valueClass) {
    this.valueClass = valueClass;
  }

  Class<?> valueClass() {
    return valueClass;
  }
}
