package dev.kvfreeze.engine;

import dev.kvfreeze.cache.ColdStore;
import dev.kvfreeze.cache.DeviceColdStore;
import dev.kvfreeze.cache.HostColdStore;
import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.cache.SpillColdStore;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.HostPages;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchCalibration;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import java.util.Optional;

/** Puts an engine together: device, page memory, cold store, policy. */
public final class Engines {
  private Engines() {}

  /**
   * An engine on the CPU.
   *
   * @param model stays the caller's to close, after the engine
   * @throws IllegalArgumentException for an unknown policy or sizes that do not fit together
   */
  public static Engine open(
      LanguageModel model,
      EngineOptions options,
      PolicyOptions policyOptions,
      String policyName,
      int threads) {
    FreezePolicy policy = FreezePolicies.create(policyName, policyOptions);
    return open(model, CpuDevice.open(threads), options, policy);
  }

  /**
   * An engine on the device that the options ask for.
   *
   * @param model stays the caller's to close, after the engine
   * @throws IllegalArgumentException for an unknown policy or sizes that do not fit together
   */
  public static Engine open(
      LanguageModel model,
      EngineOptions options,
      PolicyOptions policyOptions,
      String policyName,
      DeviceOptions deviceOptions) {
    FreezePolicy policy = FreezePolicies.create(policyName, policyOptions);
    return open(model, Devices.open(deviceOptions), options, policy);
  }

  /** An engine on a given device, which it closes with itself. */
  public static Engine open(
      LanguageModel model, Device device, EngineOptions options, FreezePolicy policy) {
    KvCache cache = null;
    try {
      ModelSpec spec = model.spec();
      int contextLimit = contextLimit(spec, options);
      // Weights and working memory first: on a GPU the pool gets what they leave.
      Transformer transformer =
          new Transformer(
              model,
              device,
              null,
              Math.max(options.prefillChunk(), options.maxBatch()),
              options.maxBatch());
      KeyCalibration calibration =
          KeyCalibrator.calibrate(model, device, transformer, policy, options.kvFormat());
      cache = cache(device, options, policy, spec, calibration.sketches());
      return new BatchEngine(
          model,
          device,
          transformer.withMemory(cache.memory(), calibration.smoothing()),
          cache,
          policy,
          options,
          contextLimit);
    } catch (RuntimeException | Error e) {
      if (cache != null) {
        cache.close();
      }
      device.close();
      throw e;
    }
  }

  private static KvCache cache(
      Device device,
      EngineOptions options,
      FreezePolicy policy,
      ModelSpec spec,
      SketchCalibration calibration) {
    PageLayout layout = new PageLayout(spec.headSize(), options.pageTokens(), options.kvFormat());
    long poolBytes = options.poolBytes() == 0 ? device.usualPoolBytes() : options.poolBytes();
    PageMemory memory = device.pageMemory(layout, poolBytes);
    try {
      return new KvCache(
          memory, coldStore(memory, options), policy, spec.ropes(), spec.kvHeads(), calibration);
    } catch (RuntimeException | Error e) {
      memory.close();
      throw e;
    }
  }

  private static int contextLimit(ModelSpec spec, EngineOptions options) {
    if (options.contextLimit() == 0) {
      return spec.contextLength();
    }
    if (options.contextLimit() > spec.contextLength()) {
      throw new IllegalArgumentException(
          "the context limit is "
              + options.contextLimit()
              + " tokens, the model was trained for "
              + spec.contextLength()
              + "; lower engine.contextLimit or leave it out");
    }
    return options.contextLimit();
  }

  private static ColdStore coldStore(PageMemory memory, EngineOptions options) {
    PageLayout layout = memory.layout();
    if (options.spillDirectory() != null) {
      return new SpillColdStore(
          options.spillDirectory(), layout.wordsPerPage(), options.coldBytes());
    }
    Optional<HostPages> places = memory.hostPages(options.coldBytes());
    return places.isPresent()
        ? new DeviceColdStore(places.get(), layout.pageBytes())
        : new HostColdStore(layout.wordsPerPage(), options.coldBytes());
  }
}
