package dev.kvfreeze.device.cpu;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntConsumer;

/**
 * Finds kernels that this JVM compiled badly. A Vector API call that the compiler does not inline
 * boxes its vectors: the results stay right, but the kernel runs 10 to 60 times slower, in one JVM
 * and not in the next. Boxes are allocations, and kernels have no other reason to allocate, so a
 * few milliseconds of each show it, however busy the machine is; the time against the scalar twin
 * is measured where there is time for it.
 */
public final class KernelSelfCheck {
  /**
   * A box of 512 bits takes about 100 bytes. A few at a kernel's edges cost nothing; one inside a
   * loop comes at least once a block, and what is checked has 16 blocks a call or more.
   */
  private static final long ALLOWED_BYTES_PER_CALL = 1024;

  private static final int MEASURED_CALLS = 20;

  /**
   * One operation, in both implementations.
   *
   * @param name for the report
   * @param vector runs it once; the argument counts the calls
   * @param scalar the twin, or null where it has none
   */
  record Candidate(String name, IntConsumer vector, IntConsumer scalar) {}

  /**
   * What was found of one operation.
   *
   * @param bytesPerCall allocated by one call
   * @param speedup time of the scalar twin divided by the kernel's own; 0 where it was not measured
   */
  public record Finding(String kernel, long bytesPerCall, double speedup) {
    /** Whether vectors are boxed: compiled badly, or not compiled yet. */
    public boolean boxed() {
      return bytesPerCall > ALLOWED_BYTES_PER_CALL;
    }

    @Override
    public String toString() {
      String boxes =
          String.format(Locale.ROOT, "%s (%,d bytes allocated a call", kernel, bytesPerCall);
      return speedup == 0
          ? boxes + ")"
          : boxes + String.format(Locale.ROOT, ", %.1f times the scalar twin's speed)", speedup);
    }
  }

  private KernelSelfCheck() {}

  /**
   * Runs every candidate until its calls allocate nothing, within a time for all of them together:
   * a good one takes some tens of milliseconds until it is compiled.
   */
  static List<Finding> run(List<Candidate> candidates, long limitMillis) {
    long end = System.nanoTime() + limitMillis * 1_000_000;
    List<Finding> findings = new ArrayList<>();
    for (int i = 0; i < candidates.size(); i++) {
      long left = Math.max(0, end - System.nanoTime());
      findings.add(measure(candidates.get(i), left / (candidates.size() - i)));
    }
    return findings;
  }

  /** Runs one until a series of calls allocates nothing, or the time is up. */
  static Finding measure(Candidate candidate, long limitNanos) {
    long begin = System.nanoTime();
    long bytes;
    do {
      bytes = bytesPerCall(candidate, begin + limitNanos);
    } while (bytes > ALLOWED_BYTES_PER_CALL && System.nanoTime() - begin < limitNanos);
    return new Finding(candidate.name(), bytes, 0);
  }

  /** The same with the time against the twin, which the caller has seen compiled. */
  static Finding compare(Candidate candidate, long limitNanos) {
    Finding finding = measure(candidate, limitNanos);
    if (candidate.scalar() == null) {
      return finding;
    }
    seconds(candidate.scalar());
    double speedup = seconds(candidate.scalar()) / seconds(candidate.vector());
    return new Finding(finding.kernel(), finding.bytesPerCall(), speedup);
  }

  private static long bytesPerCall(Candidate candidate, long end) {
    long before = allocatedBytes();
    int calls = 0;
    do {
      candidate.vector().accept(calls++);
    } while (calls < MEASURED_CALLS && System.nanoTime() - end < 0);
    return (allocatedBytes() - before) / calls;
  }

  private static double seconds(IntConsumer kernel) {
    long begin = System.nanoTime();
    for (int i = 0; i < MEASURED_CALLS; i++) {
      kernel.accept(i);
    }
    return (System.nanoTime() - begin) / 1e9 / MEASURED_CALLS;
  }

  private static long allocatedBytes() {
    return allocatedBytes(Thread.currentThread().getId());
  }

  /** Bytes that a thread has allocated so far; 0 on a JVM that does not count them. */
  static long allocatedBytes(long threadId) {
    return ManagementFactory.getThreadMXBean() instanceof ThreadMXBean bean
        ? Math.max(0, bean.getThreadAllocatedBytes(threadId))
        : 0;
  }
}
