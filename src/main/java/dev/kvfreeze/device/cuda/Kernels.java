package dev.kvfreeze.device.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** The kernels of {@code src/main/cuda}, loaded from the PTX that the jar carries, by name. */
final class Kernels {
  /** By family: a file of PTX each. */
  static final Map<String, List<String>> FAMILIES =
      Map.of(
          "elementwise",
          List.of(
              "embed_rows",
              "rms_norm",
              "add_rms_norm",
              "rms_norm_heads",
              "add_bias",
              "add",
              "gate",
              "round_bf16",
              "rope_table",
              "rope"),
          "decode",
          List.of("round_rows", "decode_rows8", "decode_rows16", "decode_rows32"),
          "fused",
          List.of("rms_norm_rounded", "gate_rounded", "finish_qkv"),
          "prefill",
          List.of("prefill_rows128", "prefill_rows64"),
          "attention",
          List.of("write_kv", "attend_decode", "merge_decode", "attend_prefill", "mass_prefill"),
          "sketch",
          List.of(
              "sketch_centre",
              "sketch_keys",
              "prepare_queries",
              "score_sketches",
              "merge_sketches"),
          "pages",
          List.of("gather_pages", "scatter_pages"),
          "logits",
          List.of("logit_parts", "logit_statistics"));

  /** Dynamic shared memory that needs no permission. */
  private static final int FREE_SHARED_BYTES = 48 << 10;

  private final CudaDriver driver;
  private final int mostSharedBytes;
  private final Map<String, CudaDriver.Function> functions = new HashMap<>();
  private final Map<String, Integer> allowed = new HashMap<>();

  /**
   * Loads all families.
   *
   * @param source PTX by family; {@link #fromJar} as a rule
   */
  Kernels(CudaDriver driver, GpuProperties gpu, Function<String, byte[]> source) {
    this.driver = driver;
    this.mostSharedBytes = gpu.sharedBytesPerBlock();
    FAMILIES.forEach(
        (family, names) ->
            driver
                .load(family + ".ptx", source.apply(family), names)
                .forEach(function -> functions.put(function.name(), function)));
  }

  /** The PTX that the jar carries. */
  static byte[] fromJar(String family) {
    String path = "ptx/" + family + ".ptx";
    try (InputStream in = Kernels.class.getResourceAsStream(path)) {
      if (in == null) {
        throw new IllegalStateException(
            "the jar has no "
                + path
                + ": it was built without its kernels; src/main/cuda/compile.py makes them");
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + path + " from the jar", e);
    }
  }

  /**
   * A launch with blocks of {@code block} threads.
   *
   * @param arguments in the kernel's order: Integer, Float or Long (an address)
   * @throws IllegalArgumentException when the GPU has less shared memory than asked
   */
  Launch launch(
      String kernel, int gridX, int gridY, int gridZ, int block, long shared, Object... arguments) {
    CudaDriver.Function function = functions.get(kernel);
    if (shared > FREE_SHARED_BYTES) {
      allow(function, shared);
    }
    long[] raw = new long[arguments.length];
    for (int i = 0; i < raw.length; i++) {
      raw[i] = raw(arguments[i]);
    }
    return new Launch(function, gridX, gridY, gridZ, block, 1, (int) shared, raw);
  }

  private void allow(CudaDriver.Function function, long shared) {
    if (shared > mostSharedBytes) {
      throw new IllegalArgumentException(
          function.name()
              + " needs "
              + shared
              + " bytes of shared memory, a block of this GPU has "
              + mostSharedBytes
              + "; use pages of fewer tokens (cache.pageTokens)");
    }
    if (allowed.getOrDefault(function.name(), 0) < shared) {
      driver.allowSharedMemory(function, mostSharedBytes);
      allowed.put(function.name(), mostSharedBytes);
    }
  }

  private static long raw(Object argument) {
    if (argument instanceof Integer value) {
      return value & 0xffffffffL;
    }
    if (argument instanceof Float value) {
      return Float.floatToRawIntBits(value) & 0xffffffffL;
    }
    return (Long) argument;
  }

  static int divideUp(int a, int b) {
    return (a + b - 1) / b;
  }
}
