package dev.kvfreeze.device.cpu;

import com.sun.management.ThreadMXBean;
import dev.kvfreeze.model.tensor.TensorType;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.function.IntConsumer;

/**
 * Finds kernels that this JVM compiled badly. A Vector API call that the compiler does not inline
 * boxes its vectors: the results stay right, but the kernel runs 10 to 60 times slower, in one JVM
 * and not in the next. Boxes are allocations, and kernels have no other reason to allocate, so a
 * few milliseconds of each show it, however busy the machine is; the time against the scalar twin
 * is reported with it.
 */
public final class KernelSelfCheck {
  /**
   * A box of 512 bits takes about 100 bytes. A few at a kernel's edges cost nothing; one inside a
   * loop comes at least once a block, and the weights checked here have 64 blocks a call.
   */
  private static final long ALLOWED_BYTES_PER_CALL = 1024;

  private static final System.Logger LOGGER = System.getLogger(KernelSelfCheck.class.getName());
  private static final int MEASURED_CALLS = 50;
  private static final int SCALAR_CALLS = 20;

  /**
   * One kernel, in both implementations.
   *
   * @param name for the report
   * @param vector runs it once; the argument counts the calls
   * @param scalar the twin, or null where it has none
   */
  record Candidate(String name, IntConsumer vector, IntConsumer scalar) {}

  /**
   * What was found of one kernel.
   *
   * @param bytesPerCall allocated by one call
   * @param speedup time of the scalar twin divided by the kernel's own; 0 where it has none
   */
  public record Finding(String kernel, long bytesPerCall, double speedup) {
    /** Whether vectors are boxed. */
    public boolean boxed() {
      return bytesPerCall > ALLOWED_BYTES_PER_CALL;
    }
  }

  private KernelSelfCheck() {}

  /**
   * Checks the matrix kernels of a provider and logs a warning for each that is boxed.
   *
   * @param types the weights' types whose kernels are checked
   * @param limitMillis how long a kernel may run until it is compiled; a good one takes some tens
   */
  public static List<Finding> run(
      KernelProvider provider, Collection<TensorType> types, int limitMillis) {
    if (provider.name().equals("scalar")) {
      return List.of();
    }
    List<Finding> findings = new ArrayList<>();
    for (Candidate candidate : matmulCandidates(provider, types)) {
      Finding finding = measure(candidate, limitMillis);
      findings.add(finding);
      if (finding.boxed()) {
        LOGGER.log(
            System.Logger.Level.WARNING,
            String.format(
                Locale.ROOT,
                "The kernel %s was compiled badly in this JVM: %d bytes allocated a call, %.1f times"
                    + " the scalar twin's speed. Results are right, but slow; start the JVM again.",
                finding.kernel(),
                finding.bytesPerCall(),
                finding.speedup()));
      }
    }
    return findings;
  }

  static List<Candidate> matmulCandidates(KernelProvider provider, Collection<TensorType> types) {
    List<Candidate> candidates = new ArrayList<>();
    for (TensorType type : types) {
      candidates.addAll(matmulCandidates(type, provider.matmul()));
    }
    return candidates;
  }

  private static List<Candidate> matmulCandidates(TensorType type, MatmulKernels vector) {
    MatmulKernels scalar = new ScalarMatmulKernels();
    TiledWeight weight = WeightPacker.empty(type.name(), type, TiledWeight.TILE_ROWS, 8 * 256);
    float[] x = new float[8 * weight.columns()];
    float[] out = new float[8 * TiledWeight.TILE_ROWS];
    float[] scratch = new float[MatmulKernels.scratchLength(weight)];
    float[] panel = new float[8 * TiledWeight.BLOCK_VALUES];
    return List.of(
        new Candidate(
            type + " row",
            call -> vector.multiplyTile(weight, 0, x, 0, out, 0, scratch),
            call -> scalar.multiplyTile(weight, 0, x, 0, out, 0, scratch)),
        new Candidate(
            type + " panel",
            call -> vector.dequantize(weight, 0, 0, 8, panel, 0, scratch),
            call -> scalar.dequantize(weight, 0, 0, 8, panel, 0, scratch)),
        new Candidate(
            type + " product",
            call ->
                vector.multiplyPanel(x, 0, weight.columns(), 1 + call % 8, panel, 0, 256, out, 0),
            call ->
                scalar.multiplyPanel(x, 0, weight.columns(), 1 + call % 8, panel, 0, 256, out, 0)));
  }

  /** Runs a kernel until a series of calls allocates nothing, or the time is up. */
  static Finding measure(Candidate candidate, int limitMillis) {
    long deadline = System.nanoTime() + limitMillis * 1_000_000L;
    long bytes;
    double vectorSeconds;
    do {
      long before = allocatedBytes();
      vectorSeconds = seconds(candidate.vector(), MEASURED_CALLS);
      bytes = (allocatedBytes() - before) / MEASURED_CALLS;
    } while (bytes > ALLOWED_BYTES_PER_CALL && System.nanoTime() - deadline < 0);
    double speedup = 0;
    if (candidate.scalar() != null) {
      seconds(candidate.scalar(), SCALAR_CALLS);
      speedup = seconds(candidate.scalar(), SCALAR_CALLS) / vectorSeconds;
    }
    return new Finding(candidate.name(), bytes, speedup);
  }

  private static double seconds(IntConsumer kernel, int calls) {
    long begin = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      kernel.accept(i);
    }
    return (System.nanoTime() - begin) / 1e9 / calls;
  }

  private static long allocatedBytes() {
    // HotSpot's own bean; another JVM measures nothing and reports no boxes.
    return ManagementFactory.getThreadMXBean() instanceof ThreadMXBean bean
        ? bean.getThreadAllocatedBytes(Thread.currentThread().getId())
        : 0;
  }
}
