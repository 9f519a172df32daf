package dev.kvfreeze.device.cpu;

import java.util.Arrays;

/** What the memory gives: the roof of decode, which reads every weight for every token. */
public final class MemoryBandwidth {
  /** Most words a thread reads, 256 MiB: more than a core's part of the caches in most machines. */
  private static final int MOST_WORDS = 1 << 25;

  /** Most words of all threads, half a gigabyte. */
  private static final int WORDS_TOGETHER = 1 << 26;

  /** An eighth of the heap in words. */
  private static final int HEAP_SHARE = 64;

  private static final int PASSES = 6;

  private MemoryBandwidth() {}

  /** Bytes a second that so many threads read together, the best of some passes. */
  public static double readBytesPerSecond(int threads) {
    int words = words(threads);
    long[][] arrays = new long[threads][];
    long[] sums = new long[threads];
    try (WorkerPool pool = new WorkerPool(threads)) {
      pool.parallelFor(
          threads,
          1,
          (worker, from, to) -> {
            for (int i = from; i < to; i++) {
              arrays[i] = new long[words];
              Arrays.fill(arrays[i], i);
            }
          });
      double best = 0;
      for (int pass = 0; pass < PASSES; pass++) {
        long begin = System.nanoTime();
        pool.parallelFor(
            threads,
            1,
            (worker, from, to) -> {
              for (int i = from; i < to; i++) {
                sums[i] += sum(arrays[i]);
              }
            });
        best = Math.max(best, 8.0 * words * threads / (System.nanoTime() - begin) * 1e9);
      }
      // The sums keep the loops alive.
      return sums[0] == Long.MIN_VALUE ? 0 : best;
    }
  }

  private static int words(int threads) {
    long together = Math.min(WORDS_TOGETHER, Runtime.getRuntime().maxMemory() / HEAP_SHARE);
    return (int) Math.max(8, Math.min(MOST_WORDS, together / threads) & -8);
  }

  private static long sum(long[] words) {
    long a = 0;
    long b = 0;
    long c = 0;
    long d = 0;
    for (int i = 0; i < words.length; i += 8) {
      a += words[i] + words[i + 1];
      b += words[i + 2] + words[i + 3];
      c += words[i + 4] + words[i + 5];
      d += words[i + 6] + words[i + 7];
    }
    return a + b + c + d;
  }
}
