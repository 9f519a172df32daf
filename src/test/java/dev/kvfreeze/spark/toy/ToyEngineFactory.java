package dev.kvfreeze.spark.toy;

import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import dev.kvfreeze.spark.plugin.EngineFactory;
import dev.kvfreeze.spark.plugin.ExecutorResources;
import dev.kvfreeze.spark.plugin.ModelIdentity;
import org.apache.hadoop.conf.Configuration;

/** Opens {@link ToyEngine}; the model {@code broken-on-executors} is one only executors refuse. */
public final class ToyEngineFactory implements EngineFactory {
  public static final String BROKEN_ON_EXECUTORS = "broken-on-executors";

  public ToyEngineFactory() {}

  @Override
  public ModelIdentity identify(Settings settings, Configuration hadoop) {
    return new ModelIdentity("toy", ToyModel.HASH, ToyModel.CONTEXT);
  }

  @Override
  public Engine open(Settings settings, ExecutorResources resources) {
    if (settings.value(Knobs.MODEL).equals(BROKEN_ON_EXECUTORS)) {
      throw new ModelFileException("toy.gguf: it is truncated; download it again");
    }
    return new ToyEngine(
        settings.value(Knobs.POLICY),
        settings.value(Knobs.CONTEXT_LIMIT),
        settings.value(Knobs.MAX_BATCH));
  }
}
