package dev.kvfreeze.device.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The CUDA kernels compiled for the host (src/test/cuda/README.md): device addresses are host
 * addresses, a launch is done when it returns. Built by g++ at the first use in a JVM.
 */
public final class HostKernels {
  private static final Path SOURCES = Path.of("src", "test", "cuda");
  private static final Path OUTPUT = Path.of("target", "cuda-host");
  private static HostKernels loaded;

  private HostKernels() {}

  /**
   * Builds the library where it is not up to date, and loads it.
   *
   * @throws IllegalStateException with the compiler's output, or when g++ is missing
   */
  public static synchronized HostKernels load() {
    if (loaded == null) {
      build("library");
      System.load(OUTPUT.resolve("libkvfreeze_host_kernels.so").toAbsolutePath().toString());
      loaded = new HostKernels();
    }
    return loaded;
  }

  /** Builds the program of C++ tests and returns it. */
  static synchronized Path buildTests() {
    build("tests");
    return OUTPUT.resolve("kernel_tests").toAbsolutePath();
  }

  private static void build(String what) {
    ProcessBuilder builder =
        new ProcessBuilder("bash", SOURCES.resolve("build.sh").toString(), OUTPUT.toString(), what);
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    run(builder, "the kernels do not compile for the host");
  }

  /**
   * Runs a program to its end and returns what it printed.
   *
   * @throws IllegalStateException with that, when it fails
   */
  static String run(ProcessBuilder builder, String failure) {
    try {
      Process process = builder.redirectErrorStream(true).start();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      int code = process.waitFor();
      if (code != 0) {
        throw new IllegalStateException(failure + " (exit code " + code + "):\n" + output);
      }
      return output;
    } catch (IOException e) {
      throw new UncheckedIOException(failure + ": " + e.getMessage(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(failure + ": interrupted", e);
    }
  }

  /**
   * Runs a kernel.
   *
   * @param arguments a direct buffer in native order; argument i begins at byte {@code offsets[i]},
   *     aligned as its type wants
   * @throws IllegalStateException for an unknown kernel, a wrong shape, or threads that would wait
   *     for ever
   */
  public void launch(
      String kernel,
      int gridX,
      int gridY,
      int gridZ,
      int blockX,
      int blockY,
      int blockZ,
      int sharedBytes,
      ByteBuffer arguments,
      int[] offsets) {
    launchNative(
        kernel, gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, arguments, offsets);
  }

  /** Memory aligned to 256 bytes, filled with 0xCB, so that reading what nobody wrote shows. */
  public long allocate(long bytes) {
    long address = allocateNative(bytes);
    if (address == 0) {
      throw new OutOfMemoryError("the host has no " + bytes + " bytes for the kernels' memory");
    }
    return address;
  }

  public void free(long address) {
    freeNative(address);
  }

  /** The memory itself, in native order; at most 2 GiB - 1. */
  public ByteBuffer view(long address, long bytes) {
    return viewNative(address, bytes).order(ByteOrder.nativeOrder());
  }

  /** Where a direct buffer lies. */
  public long address(ByteBuffer direct) {
    return addressNative(direct);
  }

  /** Copies bytes; the ranges may overlap. */
  public void copy(long to, long from, long bytes) {
    copyNative(to, from, bytes);
  }

  /** The names of all kernels. */
  public List<String> kernels() {
    return new ArrayList<>(List.of(namesNative()));
  }

  /** The kernels that the sources declare. */
  static List<Path> families() {
    try (var files = Files.list(Path.of("src", "main", "cuda"))) {
      return files.filter(file -> file.toString().endsWith(".cu")).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static native void launchNative(
      String kernel,
      int gridX,
      int gridY,
      int gridZ,
      int blockX,
      int blockY,
      int blockZ,
      int sharedBytes,
      ByteBuffer arguments,
      int[] offsets);

  private static native long allocateNative(long bytes);

  private static native void freeNative(long address);

  private static native ByteBuffer viewNative(long address, long bytes);

  private static native long addressNative(ByteBuffer direct);

  private static native void copyNative(long to, long from, long bytes);

  private static native String[] namesNative();
}
