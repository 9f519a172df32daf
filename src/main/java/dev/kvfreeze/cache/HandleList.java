package dev.kvfreeze.cache;

import java.util.Arrays;

/** Page numbers of a cold store: fresh ones in order, returned ones first. */
final class HandleList {
  private final long limit;
  private long[] free = new long[64];
  private int freeCount;
  private long next;

  HandleList(long limit) {
    this.limit = limit;
  }

  /** A page number, or -1 when the limit is reached. */
  long acquire() {
    if (freeCount > 0) {
      return free[--freeCount];
    }
    return next == limit ? -1 : next++;
  }

  void release(long handle) {
    if (handle < 0 || handle >= next || freeCount >= next) {
      throw new IllegalStateException("page " + handle + " is not in the cold store");
    }
    if (freeCount == free.length) {
      free = Arrays.copyOf(free, 2 * freeCount);
    }
    free[freeCount++] = handle;
  }

  long used() {
    return next - freeCount;
  }
}
