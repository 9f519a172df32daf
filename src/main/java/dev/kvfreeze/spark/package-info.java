/**
 * The command line of the Spark jobs. {@code conf} reads settings, {@code input} documents, {@code
 * output} writes tables, {@code plugin} owns the engine of an executor, {@code job} ties them
 * together. Spark is used in these packages only. This package itself loads no class of Spark until
 * a job runs, so that {@code --help} needs nothing but the jar.
 */
package dev.kvfreeze.spark;
