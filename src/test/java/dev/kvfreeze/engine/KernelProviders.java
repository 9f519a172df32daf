package dev.kvfreeze.engine;

import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.device.cpu.KernelProvider;
import java.util.function.Supplier;

/** Chooses the kernels of what a test opens. */
final class KernelProviders {
  private KernelProviders() {}

  /** Whether this machine has the native kernels. */
  static boolean hasNative() {
    try (CpuDevice device = with("auto", () -> CpuDevice.open(1))) {
      return device.info().provider().startsWith("native");
    }
  }

  /** What the supplier opens, with a provider required. */
  static <T> T with(String provider, Supplier<T> opening) {
    String before = System.getProperty(KernelProvider.PROPERTY, "auto");
    System.setProperty(KernelProvider.PROPERTY, provider);
    try {
      return opening.get();
    } finally {
      System.setProperty(KernelProvider.PROPERTY, before);
    }
  }
}
