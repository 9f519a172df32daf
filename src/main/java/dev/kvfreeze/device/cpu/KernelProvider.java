package dev.kvfreeze.device.cpu;

import java.util.Locale;
import java.util.Optional;

/**
 * The kernels in use, chosen once: native, vector or scalar (the idea of Apache Lucene's
 * vectorization provider). The system property {@value #PROPERTY} requires one: {@code native} and
 * {@code vector} fail where they are not available, {@code scalar} never uses vectors, {@code auto}
 * (the default) falls back with a logged reason.
 *
 * @param name {@code native-amx}, {@code native-avx512}, {@code native-avx2}, {@code vector-512},
 *     {@code vector-256} or {@code scalar}
 * @param nativeLevel what of the processor is used beside these kernels, by those in C; what has no
 *     native kernel runs on vectors
 */
public record KernelProvider(
    String name,
    MatmulKernels matmul,
    AttentionKernels attention,
    ElementwiseKernels elementwise,
    SketchKernels sketches,
    NativeLevel nativeLevel) {
  /**
   * System property naming the provider: {@code auto}, {@code native}, {@code vector} or {@code
   * scalar}.
   */
  public static final String PROPERTY = "kvfreeze.provider";

  private static final System.Logger LOGGER = System.getLogger(KernelProvider.class.getName());
  private static final String MODULE = "jdk.incubator.vector";

  /**
   * The provider that {@value #PROPERTY} asks for.
   *
   * @throws IllegalStateException when vectors are required and not available
   * @throws IllegalArgumentException for an unknown value
   */
  public static KernelProvider choose() {
    return choose(System.getProperty(PROPERTY, "auto"));
  }

  static KernelProvider choose(String wanted) {
    // Before the library is loaded, whose initialiser would hide the reason.
    NativeLevel.wanted();
    switch (wanted.toLowerCase(Locale.ROOT)) {
      case "scalar":
        return scalar();
      case "vector":
        return vector();
      case "native":
        return natively(NativeLibrary.level());
      case "auto":
        Optional<String> obstacle = vectorObstacle();
        if (obstacle.isEmpty()) {
          return auto();
        }
        LOGGER.log(
            System.Logger.Level.WARNING,
            "Using the scalar kernels, many times slower: " + obstacle.get());
        return scalar();
      default:
        throw new IllegalArgumentException(
            PROPERTY + " is auto, native, vector or scalar, found \"" + wanted + "\"");
    }
  }

  static KernelProvider scalar() {
    return new KernelProvider(
        "scalar",
        new ScalarMatmulKernels(),
        new ScalarAttentionKernels(),
        new ScalarElementwiseKernels(),
        new ScalarSketchKernels(),
        NativeLevel.NONE);
  }

  /** Native kernels up to a level, the processor permitting. */
  static KernelProvider natively(NativeLevel level) {
    if (level == NativeLevel.NONE || !NativeLibrary.has(level)) {
      throw new IllegalStateException(
          "the native kernels were required ("
              + PROPERTY
              + "=native): "
              + (NativeLibrary.obstacle().isEmpty()
                  ? "those in use are " + NativeLibrary.level() + ", not " + level
                  : NativeLibrary.obstacle()));
    }
    return withVectors("native-" + level.name().toLowerCase(Locale.ROOT), level);
  }

  private static KernelProvider auto() {
    if (NativeLibrary.level() != NativeLevel.NONE) {
      return natively(NativeLibrary.level());
    }
    LOGGER.log(
        System.Logger.Level.INFO,
        "Using the Java kernels, not the native ones: " + NativeLibrary.obstacle());
    return vector();
  }

  static KernelProvider vector() {
    Optional<String> obstacle = vectorObstacle();
    if (obstacle.isPresent()) {
      throw new IllegalStateException(
          "the vector kernels were required (" + PROPERTY + "=vector): " + obstacle.get());
    }
    return withVectors("vector-" + VectorWidth.preferredBits(), NativeLevel.NONE);
  }

  private static KernelProvider withVectors(String name, NativeLevel level) {
    return new KernelProvider(
        name,
        new VectorMatmulKernels(),
        new VectorAttentionKernels(),
        new VectorElementwiseKernels(level),
        new VectorSketchKernels(),
        level);
  }

  /** Why vectors cannot be used and what cures it; empty when they can. */
  static Optional<String> vectorObstacle() {
    // Asked before any class that mentions vectors is initialised.
    if (ModuleLayer.boot().findModule(MODULE).isEmpty()) {
      return Optional.of(
          "the module " + MODULE + " is not loaded; start Java with --add-modules " + MODULE);
    }
    int bits = VectorWidth.preferredBits();
    if (bits < 256) {
      return Optional.of(
          "this CPU or this JVM offers vectors of "
              + bits
              + " bits, the kernels need 256; on x86 check that -XX:UseAVX is not below 2 and that"
              + " the C2 compiler is on");
    }
    return Optional.empty();
  }
}
