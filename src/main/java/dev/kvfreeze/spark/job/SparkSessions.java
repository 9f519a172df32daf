package dev.kvfreeze.spark.job;

import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.plugin.KvFreezePlugin;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.SparkSession;

/** Starts Spark with the plugin and the resolved settings, so that executors read only those. */
final class SparkSessions {
  private static final String PLUGINS = "spark.plugins";

  private SparkSessions() {}

  static SparkSession start(SparkConf conf, String job, Settings settings) {
    conf.setIfMissing("spark.master", "local[*]");
    conf.setIfMissing("spark.app.name", "kvfreeze " + job);
    conf.setIfMissing("spark.ui.showConsoleProgress", "false");
    // Two attempts of a task at once would do its documents twice.
    conf.set("spark.speculation", "false");
    String plugins = conf.get(PLUGINS, "");
    String ours = KvFreezePlugin.class.getName();
    if (!plugins.contains(ours)) {
      conf.set(PLUGINS, plugins.isEmpty() ? ours : plugins + "," + ours);
    }
    settings.asSparkConfiguration().forEach(conf::set);
    return SparkSession.builder().config(conf).getOrCreate();
  }
}
