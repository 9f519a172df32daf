package dev.kvfreeze.device.cpu;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;

/**
 * The shared library of {@code src/main/native}, which the jar carries: copied to the folder for
 * temporary files, loaded once a process, and deleted again. Its functions take arrays of the heap,
 * hold them still for microseconds ({@code GetPrimitiveArrayCritical}) and check no bounds: their
 * callers do.
 */
final class NativeLibrary {
  private static final String RESOURCE = "native/linux-x86_64/libkvfreeze-cpu.so";

  // As in library.c.
  private static final int FEATURE_AVX512 = 1;
  private static final int FEATURE_AMX = 2;

  private static final NativeLibrary LOADED = load();

  private final NativeLevel level;
  private final String obstacle;

  private NativeLibrary(NativeLevel level, String obstacle) {
    this.level = level;
    this.obstacle = obstacle;
  }

  /** The highest level that this processor and system have; NONE where there is an obstacle. */
  static NativeLevel level() {
    return LOADED.level;
  }

  /** Why the native kernels cannot be used and what cures it; empty when they can. */
  static String obstacle() {
    return LOADED.obstacle;
  }

  private static NativeLibrary load() {
    String system = System.getProperty("os.name") + " on " + System.getProperty("os.arch");
    if (!system.toLowerCase(Locale.ROOT).matches("linux on (amd64|x86_64)")) {
      return none("they are made for Linux on x86-64, this is " + system);
    }
    Path file = null;
    try {
      file = Files.createTempFile("kvfreeze-cpu-", ".so");
      try (InputStream library = NativeLibrary.class.getResourceAsStream(RESOURCE)) {
        if (library == null) {
          return none(RESOURCE + " is missing from the jar; build it again");
        }
        Files.copy(library, file, StandardCopyOption.REPLACE_EXISTING);
      }
      System.load(file.toString());
    } catch (IOException | UnsatisfiedLinkError e) {
      return none(
          e.getMessage()
              + "; -Djava.io.tmpdir must name a folder with room from which programs may be run");
    } finally {
      delete(file);
    }
    int features = features();
    if ((features & FEATURE_AVX512) == 0) {
      return none("this processor has no AVX-512 with VNNI");
    }
    if (!holdsArraysThemselves(new int[1024])) {
      return none("this JVM copies arrays for native code; use HotSpot (OpenJDK)");
    }
    boolean amx = (features & FEATURE_AMX) != 0;
    return new NativeLibrary(amx ? NativeLevel.AMX : NativeLevel.AVX512, "");
  }

  private static NativeLibrary none(String obstacle) {
    return new NativeLibrary(NativeLevel.NONE, obstacle);
  }

  private static void delete(Path file) {
    try {
      if (file != null) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      // A file more in the temporary folder is no reason to stop.
      file.toFile().deleteOnExit();
    }
  }

  /** Whether the JVM holds an array itself still for native code, as HotSpot does, not a copy. */
  private static native boolean holdsArraysThemselves(int[] array);

  /** Bits of what the processor and the system have; asks Linux for the use of tiles. */
  private static native int features();
}
