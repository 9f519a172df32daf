package dev.kvfreeze.spark.input;

/** How documents are stored. */
public enum InputFormat {
  /** By the files' endings. */
  AUTO,
  /** A file a document. */
  TEXT,
  PARQUET,
  /** One JSON object a line. */
  JSON,
  /** With a header line. */
  CSV
}
