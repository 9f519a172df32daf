package dev.kvfreeze.spark.plugin;

import java.nio.file.Path;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;

/**
 * What an executor gives its engine.
 *
 * @param cores of the executor
 * @param localDirectory Spark's, removed at exit
 * @param hadoop to read models from other file systems
 * @param gpu the address of the GPU that the executor may use, empty text for the first one that is
 *     visible; nothing when it has none
 */
public record ExecutorResources(
    int cores, Path localDirectory, Configuration hadoop, Optional<String> gpu) {}
