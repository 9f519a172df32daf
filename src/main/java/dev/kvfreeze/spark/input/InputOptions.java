package dev.kvfreeze.spark.input;

/**
 * Where the documents are.
 *
 * @param path a file, folder or glob on any file system that Hadoop knows
 * @param idColumn of Parquet, JSON and CSV; for text the id is the file's name relative to the path
 * @param textColumn of Parquet, JSON and CSV
 */
public record InputOptions(String path, InputFormat format, String idColumn, String textColumn) {}
