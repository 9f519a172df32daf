package dev.kvfreeze.spark.plugin;

import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;

/**
 * What an executor gives its engine.
 *
 * @param cores of the executor
 * @param localDirectory Spark's, removed at exit
 * @param hadoop to read models from other file systems
 */
public record ExecutorResources(int cores, Path localDirectory, Configuration hadoop) {}
