package dev.kvfreeze.engine;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.ProfiledDevice;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.device.cpu.MemoryBandwidth;
import dev.kvfreeze.device.cuda.CudaDevice;
import dev.kvfreeze.device.cuda.CudaUnavailableException;

/** Opens the device that the options ask for. */
public final class Devices {
  private static final System.Logger LOGGER = System.getLogger(Devices.class.getName());

  private Devices() {}

  /**
   * Opens it; {@link DeviceChoice#AUTO} says in the log why it took the CPU.
   *
   * @throws CudaUnavailableException when a GPU is asked for and cannot be had
   * @throws OutOfMemoryError when the GPU has less free memory than asked for
   */
  public static Device open(DeviceOptions options) {
    return switch (options.choice()) {
      case CPU -> cpu(options);
      case CUDA -> gpu(options);
      case AUTO -> {
        try {
          yield gpu(options);
        } catch (CudaUnavailableException e) {
          LOGGER.log(System.Logger.Level.INFO, "computing on the CPU: " + e.getMessage());
          yield cpu(options);
        }
      }
    };
  }

  private static Device gpu(DeviceOptions options) {
    if (options.profiling() == Profiling.ON && options.choice() == DeviceChoice.CUDA) {
      throw new IllegalArgumentException(
          "engine.profile measures the CPU, engine.device asks for a GPU: a GPU's operations are not"
              + " complete when they return; set engine.profile=off, or engine.device=cpu");
    }
    Device device = CudaDevice.open(options.gpu(), options.memory());
    if (options.profiling() == Profiling.ON) {
      LOGGER.log(System.Logger.Level.WARNING, "engine.profile measures the CPU, not this GPU");
    }
    return device;
  }

  private static Device cpu(DeviceOptions options) {
    Device device = CpuDevice.open(options.threads(), options.precision(), options.kernelCheck());
    return options.profiling() == Profiling.OFF
        ? device
        : new ProfiledDevice(device, MemoryBandwidth.readBytesPerSecond(options.threads()));
  }
}
