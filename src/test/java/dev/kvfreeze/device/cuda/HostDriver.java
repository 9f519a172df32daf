package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.DeviceBudget;
import java.nio.file.Path;

/**
 * The real {@link JCudaDriver} over a libcuda.so.1 that computes in host memory with the kernels
 * compiled for the host: JCuda, the arguments' layout, and everything above run as with a GPU, but
 * one call after the other. What streams and events would have allowed is {@link RecordingDriver}'s
 * to check. Built by g++ at the first use in a JVM.
 */
final class HostDriver {
  private static final Path SOURCE = Path.of("src", "test", "cuda", "libcuda_host.cc");
  private static final Path OUTPUT = Path.of("target", "cuda-host").toAbsolutePath();
  private static boolean loaded;

  private HostDriver() {}

  /** A driver with one GPU, the host. */
  static synchronized JCudaDriver load() {
    if (!loaded) {
      HostKernels.load();
      Path library = OUTPUT.resolve("libcuda.so.1");
      HostKernels.run(
          new ProcessBuilder(
              "g++",
              "-std=c++17",
              "-O2",
              "-Wall",
              "-Wextra",
              "-shared",
              "-fPIC",
              "-Wl,-soname,libcuda.so.1",
              "-o",
              library.toString(),
              SOURCE.toString(),
              "-L" + OUTPUT,
              "-lkvfreeze_host_kernels",
              "-Wl,-rpath,$ORIGIN"),
          "the stand-in for the CUDA driver does not compile");
      System.load(library.toString());
      loaded = true;
    }
    return JCudaDriver.loadLibrary();
  }

  /** A device in host memory. */
  static CudaDevice device(long bytes) {
    return CudaDevice.open(load(), 0, DeviceBudget.ofBytes(bytes));
  }
}
