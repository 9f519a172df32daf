package dev.kvfreeze.spark.plugin;

import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.SparkPlugin;

/** Spark's way in ({@code spark.plugins}): the engine on executors, the monitor on the driver. */
public final class KvFreezePlugin implements SparkPlugin {
  @Override
  public DriverPlugin driverPlugin() {
    return new KvFreezeDriverPlugin();
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return new KvFreezeExecutorPlugin();
  }
}
