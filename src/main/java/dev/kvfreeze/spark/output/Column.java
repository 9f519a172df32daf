package dev.kvfreeze.spark.output;

/**
 * A column of a result table.
 *
 * @param required never null
 * @param unit of the value, or empty
 */
public record Column(
    String name, ColumnType type, boolean required, String unit, String description) {

  static Column required(String name, ColumnType type, String unit, String description) {
    return new Column(name, type, true, unit, description);
  }

  static Column optional(String name, ColumnType type, String unit, String description) {
    return new Column(name, type, false, unit, description);
  }

  /** What stands beside the column in the file's schema. */
  String comment() {
    return unit.isEmpty() ? description : description + " [" + unit + "]";
  }
}
