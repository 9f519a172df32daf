package dev.kvfreeze.spark.plugin;

import java.util.Map;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.PluginContext;

/** Hands the executors' messages to the {@link JobMonitor}. */
final class KvFreezeDriverPlugin implements DriverPlugin {
  private JobMonitor monitor;

  @Override
  public Map<String, String> init(SparkContext context, PluginContext pluginContext) {
    monitor = JobMonitor.start(context);
    return Map.of();
  }

  @Override
  public Object receive(Object message) {
    monitor.receive((ExecutorMessage) message);
    return "";
  }

  @Override
  public void shutdown() {
    monitor.close();
  }
}
