package dev.kvfreeze.device.cpu;

/**
 * Reads memory that is about to be computed with. Java has no prefetch instruction, and a loop that
 * computes much a byte runs too few loads ahead to fill the memory's bandwidth: on the machine of
 * docs/benchmarks/cpu.md it reached a third of it, and half after such a reading.
 */
final class ReadAhead {
  /** What stays in the first cache beside the scratch of a product. */
  static final int WORDS = 6 * 1024;

  private static final int LINE_WORDS = 16;

  private ReadAhead() {}

  /**
   * Touches every cache line of {@code words[from .. to)}.
   *
   * @return a number without meaning that the caller must keep, or the compiler drops the loop
   */
  static int touch(int[] words, int from, int to) {
    int sum = 0;
    for (int i = from; i < to; i += LINE_WORDS) {
      sum += words[i];
    }
    return sum;
  }
}
