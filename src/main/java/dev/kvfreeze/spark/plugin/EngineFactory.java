package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.engine.Engine;
import dev.kvfreeze.spark.conf.Settings;
import org.apache.hadoop.conf.Configuration;

/** Opens engines; named by the knob {@code engine.factory}, with a public constructor. */
public interface EngineFactory {
  /**
   * Checks on the driver, before anything is submitted, that the model and the settings can be
   * used.
   *
   * @throws dev.kvfreeze.model.ModelFileException for a model that cannot be used
   * @throws IllegalArgumentException for settings that do not fit it
   */
  ModelIdentity identify(Settings settings, Configuration hadoop);

  /** Opens the engine of an executor; its model is closed with it, by the caller. */
  Engine open(Settings settings, ExecutorResources resources);

  /** The factory that the settings name. */
  static EngineFactory of(Settings settings) {
    String name = settings.value(dev.kvfreeze.spark.conf.Knobs.ENGINE_FACTORY);
    try {
      return Class.forName(name, true, Thread.currentThread().getContextClassLoader())
          .asSubclass(EngineFactory.class)
          .getConstructor()
          .newInstance();
    } catch (ReflectiveOperationException | ClassCastException e) {
      throw new IllegalArgumentException(
          "engine.factory is %s: cannot be made: %s".formatted(name, e), e);
    }
  }
}
