package dev.kvfreeze.engine;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.cpu.CpuDevice;
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
      case CUDA -> CudaDevice.open(options.gpu(), options.memory());
      case AUTO -> {
        try {
          yield CudaDevice.open(options.gpu(), options.memory());
        } catch (CudaUnavailableException e) {
          LOGGER.log(System.Logger.Level.INFO, "computing on the CPU: " + e.getMessage());
          yield cpu(options);
        }
      }
    };
  }

  private static Device cpu(DeviceOptions options) {
    return CpuDevice.open(options.threads(), options.decodeActivations());
  }
}
