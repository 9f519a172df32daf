package dev.kvfreeze.spark.plugin;

import com.codahale.metrics.Gauge;
import dev.kvfreeze.spark.conf.ConfigurationException;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.conf.SettingsResolver;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.deploy.SparkHadoopUtil;
import org.apache.spark.resource.ResourceInformation;
import scala.Tuple2;

/** Owns the {@link ExecutorEngine}: loads it, reports on it, registers its metrics, closes it. */
final class KvFreezeExecutorPlugin implements ExecutorPlugin {
  private static final Duration MOST_OFTEN = Duration.ofMillis(200);
  private static final Duration AT_LEAST = Duration.ofSeconds(5);

  private ExecutorEngine engine;
  private ScheduledExecutorService reporter;

  @Override
  public void init(PluginContext context, Map<String, String> extra) {
    try {
      start(context);
    } catch (RuntimeException e) {
      // Spark would start executor after executor, each to fail like this one.
      tell(
          context,
          new ExecutorMessage.EngineFailed(
              context.executorID(), host(), true, "the plugin cannot start: " + e));
      throw e;
    }
  }

  private void start(PluginContext context) {
    SparkConf conf = context.conf();
    Map<String, String> entries = new HashMap<>();
    for (Tuple2<String, String> entry : conf.getAll()) {
      entries.put(entry._1(), entry._2());
    }
    Settings settings = SettingsResolver.resolved(entries);
    Configuration hadoop = SparkHadoopUtil.get().newConfiguration(conf);
    Path local = Path.of(SparkEnv.get().blockManager().diskBlockManager().localDirsString()[0]);
    engine =
        ExecutorEngine.start(
            settings,
            new ExecutorResources(cores(conf), local, hadoop, gpu(context, conf)),
            context.executorID(),
            host(),
            message -> tell(context, message));
    for (ExecutorMetric metric : ExecutorMetric.values()) {
      context
          .metricRegistry()
          .register(metric.metricName(), (Gauge<Long>) () -> metric.read(engine.progress()));
    }
    Duration interval = settings.value(Knobs.PROGRESS_INTERVAL);
    long millis =
        interval.isZero()
            ? AT_LEAST.toMillis()
            : Math.max(
                MOST_OFTEN.toMillis(), Math.min(interval.toMillis(), AT_LEAST.toMillis()) / 2);
    reporter =
        Executors.newSingleThreadScheduledExecutor(
            task -> {
              Thread thread = new Thread(task, "kvfreeze-progress");
              thread.setDaemon(true);
              return thread;
            });
    ScheduledFuture<?> unused =
        reporter.scheduleWithFixedDelay(
            () -> tell(context, engine.progress()), millis, millis, TimeUnit.MILLISECONDS);
  }

  /** Blocks until the driver has it, so that a fatal message is there before the task fails. */
  private static void tell(PluginContext context, ExecutorMessage message) {
    try {
      context.ask(message);
    } catch (Exception e) {
      // The driver is gone or shutting down: nobody is left to be told.
    }
  }

  /** Not the context's, which an executor in a JVM of its own does not have yet. */
  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      return "unknown";
    }
  }

  /**
   * The GPU that Spark gave this executor. In local mode there are no resources, and the first GPU
   * is taken.
   */
  private static Optional<String> gpu(PluginContext context, SparkConf conf) {
    ResourceInformation gpus = context.resources().get("gpu");
    if (gpus == null || gpus.addresses().length == 0) {
      boolean local = conf.get("spark.master", "local").startsWith("local");
      return local ? Optional.of("") : Optional.empty();
    }
    if (gpus.addresses().length > 1) {
      throw new ConfigurationException(
          "an executor has one engine on one GPU, Spark gave this one %d; set"
                  .formatted(gpus.addresses().length)
              + " spark.executor.resource.gpu.amount to 1 and start more executors");
    }
    return Optional.of(gpus.addresses()[0]);
  }

  private static int cores(SparkConf conf) {
    String master = conf.get("spark.master", "local[*]");
    if (master.startsWith("local[") && !master.startsWith("local[*")) {
      return Integer.parseInt(master.replaceAll("^local\\[(\\d+).*", "$1"));
    }
    return conf.getInt("spark.executor.cores", Runtime.getRuntime().availableProcessors());
  }

  @Override
  public void shutdown() {
    if (reporter != null) {
      reporter.shutdownNow();
    }
    if (engine != null) {
      engine.close();
    }
  }
}
