package dev.kvfreeze.cache;

import java.util.Arrays;
import java.util.BitSet;

/** Handles of a cold store: the index of a page's place, reused after release. */
final class PageHandles {
  private final BitSet stored = new BitSet();
  private int[] released = new int[64];
  private int releasedCount;
  private int fresh;
  private int live;

  /** The index that {@link #take} will hand out. */
  int next() {
    return releasedCount > 0 ? released[releasedCount - 1] : fresh;
  }

  int take() {
    int index = next();
    if (releasedCount > 0) {
      releasedCount--;
    } else {
      fresh++;
    }
    stored.set(index);
    live++;
    return index;
  }

  int check(long handle) {
    if (handle < 0 || handle >= fresh || !stored.get((int) handle)) {
      throw new IllegalStateException("cold page " + handle + " is used but not stored");
    }
    return (int) handle;
  }

  void release(long handle) {
    int index = check(handle);
    stored.clear(index);
    live--;
    if (live == 0) {
      releasedCount = 0;
      fresh = 0;
      return;
    }
    if (releasedCount == released.length) {
      released = Arrays.copyOf(released, 2 * releasedCount);
    }
    released[releasedCount++] = index;
  }

  int live() {
    return live;
  }

  void clear() {
    stored.clear();
    releasedCount = 0;
    fresh = 0;
    live = 0;
  }
}
