package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.DeviceBudget;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;

/**
 * The real {@link JCudaDriver} over a libcuda.so.1 that computes in host memory: JCuda, the
 * arguments' layout, and everything above run as with a GPU, but one call after the other. What
 * streams and events would have allowed is {@link RecordingDriver}'s to check. Built by g++ at the
 * first use in a JVM.
 */
public final class HostDriver {
  private static final Path SOURCES = Path.of("src", "test", "cuda");
  private static final Path OUTPUT = Path.of("target", "cuda-host").toAbsolutePath();
  private static boolean loaded;

  /** What computes. */
  public enum HostCode {
    /** Plain loops, quick enough for whole models. */
    PLAIN,
    /** The kernels of src/main/cuda, compiled for the host. */
    KERNELS
  }

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
              "-O3",
              "-march=native",
              "-fno-math-errno",
              "-Wall",
              "-Wextra",
              "-shared",
              "-fPIC",
              "-pthread",
              "-Wl,-soname,libcuda.so.1",
              "-o",
              library.toString(),
              SOURCES.resolve("libcuda_host.cc").toString(),
              SOURCES.resolve("plain_kernels.cc").toString(),
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
  public static CudaDevice device(long bytes, HostCode code) {
    return device(load(), bytes, code);
  }

  /** The same over a driver that wraps the host's. */
  static CudaDevice device(CudaDriver driver, long bytes, HostCode code) {
    load();
    usePlainKernels(code == HostCode.PLAIN);
    return CudaDevice.open(driver, 0, DeviceBudget.ofBytes(bytes), HostDriver::ptx);
  }

  /** A device whose driver does its work late and out of order, and what that has found. */
  public record RecordedDevice(CudaDevice device, Supplier<List<String>> problems) {}

  /** A device over a {@link RecordingDriver}. */
  public static RecordedDevice recorded(long bytes, HostCode code, long seed, double eagerness) {
    RecordingDriver driver = new RecordingDriver(load(), seed, eagerness);
    return new RecordedDevice(device(driver, bytes, code), driver::problems);
  }

  /** How many times decode steps of a device were replayed as a graph. */
  public static long graphReplays(CudaDevice device) {
    return device.graphReplays();
  }

  /** The stand-in looks at no more than this. */
  static byte[] ptx(String family) {
    return (".version 8.5 // " + family).getBytes(StandardCharsets.US_ASCII);
  }

  private static native void usePlainKernels(boolean use);
}
