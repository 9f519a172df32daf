/**
 * Results out: the schema of the three tables, the files that are published whole or not at all,
 * the output folder with its marker and lock, and what of earlier runs is already done. Imports
 * Spark and Parquet, not the engine.
 */
package dev.kvfreeze.spark.output;
