package dev.kvfreeze.device.cpu;

import java.util.Arrays;
import java.util.Locale;

/**
 * What a parallel region costs beyond its work: the time of work shared among the threads, less
 * that of the same work on one thread divided by their number. Run it on a machine that does
 * nothing else.
 *
 * <pre>java -cp target/classes:target/test-classes dev.kvfreeze.device.cpu.PoolBenchmark [threads]
 * </pre>
 */
public final class PoolBenchmark {
  private static final int REPEATS = 31;
  private static final int REGIONS = 1000;

  private final WorkerPool pool;
  private final long[] sinks;

  private PoolBenchmark(int threads) {
    pool = new WorkerPool(threads);
    sinks = new long[threads * 16];
  }

  /** Runs all measurements and prints one line each. */
  public static void main(String[] arguments) {
    int threads = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 2;
    PoolBenchmark benchmark = new PoolBenchmark(threads);
    System.out.printf(Locale.ROOT, "%d threads, microseconds a region%n", threads);
    for (int gap : new int[] {0, 2000}) {
      for (int items : new int[] {2, 18, 32, 96}) {
        for (int work : new int[] {0, 200, 2000}) {
          benchmark.report(items, work, gap);
        }
      }
    }
    benchmark.pool.close();
  }

  private void report(int items, int work, int gap) {
    RangeTask task =
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            sinks[worker * 16] = churn(sinks[worker * 16], work);
          }
        };
    double alone = median(() -> task.run(0, 0, items), gap);
    double shared = median(() -> pool.parallelForEven(items, task), gap);
    double between = gap == 0 ? 0 : median(() -> {}, gap);
    double ideal = between + (alone - between) / pool.threads();
    System.out.printf(
        Locale.ROOT,
        "%3d items of %5.2f us, %4.2f us apart: %6.2f, of these lost %5.2f%n",
        items,
        (alone - between) / items,
        between,
        shared,
        shared - ideal);
  }

  /** Microseconds of a body with what lies before it. */
  private double median(Runnable body, int gap) {
    double[] seconds = new double[REPEATS];
    for (int i = -REPEATS; i < REPEATS; i++) {
      long begin = System.nanoTime();
      for (int region = 0; region < REGIONS; region++) {
        sinks[1] = churn(sinks[1], gap);
        body.run();
      }
      seconds[Math.max(0, i)] = (System.nanoTime() - begin) / 1e9;
    }
    Arrays.sort(seconds);
    return seconds[REPEATS / 2] / REGIONS * 1e6;
  }

  /** Work that nothing shortens: each round needs the one before. */
  private static long churn(long seed, int rounds) {
    long x = seed;
    for (int i = 0; i < rounds; i++) {
      x = x * 6364136223846793005L + 1442695040888963407L;
    }
    return x;
  }
}
