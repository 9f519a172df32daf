package dev.kvfreeze.device.cpu;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;

/**
 * The shared libraries of {@code src/main/native}, which the jar carries: one that says what the
 * processor has, and one with all kernels for AVX2 or for AVX-512. They are copied to the folder
 * for temporary files, loaded once a process, and deleted again. Their functions take arrays of the
 * heap, hold them still for microseconds ({@code GetPrimitiveArrayCritical}) and check no bounds:
 * their callers do.
 */
final class NativeLibrary {
  private static final String FOLDER = "native/linux-x86_64/";

  // As in processor_plain.c.
  private static final int FEATURE_AVX2 = 1;
  private static final int FEATURE_AVX512 = 2;
  private static final int FEATURE_BF16 = 4;
  private static final int FEATURE_AMX = 8;

  private static final NativeLibrary LOADED = load();

  private final NativeLevel level;
  private final NativeLevel processorLevel;
  private final String obstacle;

  private NativeLibrary(NativeLevel level, NativeLevel processorLevel, String obstacle) {
    this.level = level;
    this.processorLevel = processorLevel;
    this.obstacle = obstacle;
  }

  /**
   * The highest level that this processor and system have, at most the one that {@value
   * NativeLevel#PROPERTY} names; NONE where there is an obstacle.
   */
  static NativeLevel level() {
    return LOADED.level;
  }

  /** What {@link #level} would be without the property. */
  static NativeLevel processorLevel() {
    return LOADED.processorLevel;
  }

  /** The level without products of bfloat16 numbers: that of the kernels in plain vectors. */
  static NativeLevel vectorLevel() {
    return LOADED.level.inFloat32();
  }

  /** Whether the kernels of a level were loaded; those of AVX2 are not where AVX-512 is used. */
  static boolean has(NativeLevel wanted) {
    return wanted.compareTo(vectorLevel()) >= 0 && wanted.compareTo(LOADED.level) <= 0;
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
    try {
      loadFromJar("processor");
      NativeLevel processorLevel = levelOf(features());
      NativeLevel level = lower(processorLevel, NativeLevel.wanted());
      if (level == NativeLevel.NONE) {
        return none("this processor has no AVX2");
      }
      if (!holdsArraysThemselves(new int[1024])) {
        return none("this JVM copies arrays for native code; use HotSpot (OpenJDK)");
      }
      loadFromJar(level == NativeLevel.AVX2 ? "avx2" : "avx512");
      return new NativeLibrary(level, processorLevel, "");
    } catch (IOException | UnsatisfiedLinkError e) {
      return none(
          e.getMessage()
              + "; -Djava.io.tmpdir must name a folder with room from which programs may be run");
    }
  }

  private static NativeLevel levelOf(int features) {
    if ((features & FEATURE_AMX) != 0) {
      return NativeLevel.AMX;
    }
    if ((features & FEATURE_BF16) != 0) {
      return NativeLevel.BF16;
    }
    if ((features & FEATURE_AVX512) != 0) {
      return NativeLevel.AVX512;
    }
    return (features & FEATURE_AVX2) != 0 ? NativeLevel.AVX2 : NativeLevel.NONE;
  }

  private static NativeLevel lower(NativeLevel a, NativeLevel b) {
    return a.compareTo(b) <= 0 ? a : b;
  }

  private static void loadFromJar(String part) throws IOException {
    String resource = FOLDER + "libkvfreeze-cpu-" + part + ".so";
    Path file = Files.createTempFile("kvfreeze-cpu-", ".so");
    try (InputStream library = NativeLibrary.class.getResourceAsStream(resource)) {
      if (library == null) {
        throw new FileNotFoundException(resource + " is missing from the jar; build it again");
      }
      Files.copy(library, file, StandardCopyOption.REPLACE_EXISTING);
      System.load(file.toString());
    } finally {
      delete(file);
    }
  }

  private static NativeLibrary none(String obstacle) {
    return new NativeLibrary(NativeLevel.NONE, NativeLevel.NONE, obstacle);
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
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
