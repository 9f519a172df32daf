/**
 * The one engine of an executor, owned by Spark's plugin, and what executors tell the driver. Tasks
 * reach the engine through {@link dev.kvfreeze.spark.plugin.ExecutorEngine#current()}. Imports
 * {@code engine}, {@code model} and the settings; not the jobs.
 */
package dev.kvfreeze.spark.plugin;
