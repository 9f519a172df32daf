package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.engine.DeviceChoice;
import dev.kvfreeze.engine.DeviceOptions;
import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.engine.EngineOptions;
import dev.kvfreeze.engine.Engines;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.LanguageModels;
import dev.kvfreeze.spark.conf.ColdStoreKind;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.PolicySettings;
import dev.kvfreeze.spark.conf.Settings;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;

/** The engine of this project on the model of the settings. */
public final class ModelEngineFactory implements EngineFactory {
  @Override
  public ModelIdentity identify(Settings settings, Configuration hadoop) {
    try (LanguageModel model = LanguageModels.open(ModelFiles.find(settings, hadoop))) {
      return new ModelIdentity(model.name(), model.hash(), model.spec().contextLength());
    }
  }

  @Override
  public Engine open(Settings settings, ExecutorResources resources) {
    LanguageModel model = LanguageModels.open(ModelFiles.find(settings, resources.hadoop()));
    try {
      return Engines.open(
          model,
          engineOptions(settings, resources.localDirectory()),
          PolicySettings.options(settings),
          settings.value(Knobs.POLICY),
          deviceOptions(settings, resources));
    } catch (RuntimeException | Error e) {
      model.close();
      throw e;
    }
  }

  private static DeviceOptions deviceOptions(Settings settings, ExecutorResources resources) {
    int threads = settings.value(Knobs.THREADS);
    DeviceChoice choice = settings.value(Knobs.DEVICE);
    boolean noGpu = choice == DeviceChoice.AUTO && resources.gpu().isEmpty();
    return new DeviceOptions(
        noGpu ? DeviceChoice.CPU : choice,
        threads == 0 ? resources.cores() : threads,
        settings.value(Knobs.PRECISION),
        settings.value(Knobs.KERNEL_CHECK),
        resources.gpu().orElse(""),
        settings.value(Knobs.DEVICE_MEMORY),
        settings.value(Knobs.PROFILE));
  }

  private static EngineOptions engineOptions(Settings settings, Path localDirectory) {
    boolean spill = settings.value(Knobs.COLD_STORE) == ColdStoreKind.SPILL;
    return new EngineOptions(
        settings.value(Knobs.CACHE_FORMAT),
        settings.value(Knobs.PAGE_TOKENS),
        settings.value(Knobs.POOL_BYTES),
        settings.value(Knobs.COLD_BYTES),
        spill ? localDirectory : null,
        settings.value(Knobs.PREFILL_CHUNK),
        settings.value(Knobs.MAX_BATCH),
        settings.value(Knobs.CONTEXT_LIMIT));
  }
}
