package dev.kvfreeze.spark.conf;

/** Where frozen pages are kept. */
public enum ColdStoreKind {
  /** Host memory. */
  MEMORY,
  /** A file in Spark's local directory, readable by its owner only and gone at exit. */
  SPILL
}
