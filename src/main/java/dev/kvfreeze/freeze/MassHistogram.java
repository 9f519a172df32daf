package dev.kvfreeze.freeze;

import java.util.Arrays;

/**
 * Counts of page importances in buckets of a 128th of an octave, so that the level above which a
 * given number of pages lies is found without sorting them.
 */
final class MassHistogram {
  /** Bits of a positive float that make its bucket: the exponent and 7 bits of the mantissa. */
  private static final int SHIFT = 16;

  private final int[] counts = new int[1 << (31 - SHIFT)];

  /** No bucket above it has counts; shares of attention fill half of them at most. */
  private int highest;

  void clear() {
    Arrays.fill(counts, 0, highest + 1, 0);
    highest = 0;
  }

  /** Counts one of at least 0. */
  void add(float importance) {
    int bucket = Float.floatToRawIntBits(importance) >>> SHIFT;
    counts[bucket]++;
    highest = Math.max(highest, bucket);
  }

  /** The least level at and above which at most {@code most} of those counted lie. */
  float levelOfTop(long most) {
    long above = 0;
    for (int bucket = highest; bucket >= 0; bucket--) {
      above += counts[bucket];
      if (above > most) {
        return Float.intBitsToFloat((bucket + 1) << SHIFT);
      }
    }
    return 0;
  }
}
