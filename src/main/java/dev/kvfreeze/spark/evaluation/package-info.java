/**
 * The job that evaluates cache policies: examples are Spark tasks, results a Parquet table. May
 * import the other packages of {@code spark} and all below it.
 */
package dev.kvfreeze.spark.evaluation;
