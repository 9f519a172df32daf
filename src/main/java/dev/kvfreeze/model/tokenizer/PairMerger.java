package dev.kvfreeze.model.tokenizer;

import java.util.Arrays;

/**
 * Merges neighbouring symbols of a segment, best pair first and leftmost among equals (BPE,
 * Sennrich et al., arXiv 1508.07909), in O(n log n) by a heap with outdated entries skipped.
 * Scratch space of one encode call; not for several threads.
 */
final class PairMerger {
  /** What two neighbouring symbols become. */
  interface Rule {
    /**
     * Priority of the merge in the high 32 bits (unsigned, the smallest first) and the merged id in
     * the low ones; -1 when the symbols do not merge. A symbol without a token has the id -1.
     */
    long merge(byte[] bytes, int leftStart, int rightEnd, int leftId, int rightId);
  }

  static final long NO_MERGE = -1;

  private final Rule rule;
  private int count;
  private int[] start = new int[64];
  private int[] end = new int[64];
  private int[] id = new int[64];
  private int[] next = new int[64];
  private int[] previous = new int[64];
  private long[] heapKey = new long[64];
  private long[] heapValue = new long[64];
  private int heapSize;

  PairMerger(Rule rule) {
    this.rule = rule;
  }

  /** Adds a symbol to the segment. */
  void add(int from, int to, int token) {
    if (count == start.length) {
      int larger = count * 2;
      start = Arrays.copyOf(start, larger);
      end = Arrays.copyOf(end, larger);
      id = Arrays.copyOf(id, larger);
      next = Arrays.copyOf(next, larger);
      previous = Arrays.copyOf(previous, larger);
    }
    start[count] = from;
    end[count] = to;
    id[count] = token;
    count++;
  }

  /** Merges the segment; symbols are then walked by {@link #first} and {@link #next}. */
  void merge(byte[] bytes) {
    for (int i = 0; i < count; i++) {
      previous[i] = i - 1;
      next[i] = i + 1 < count ? i + 1 : -1;
    }
    for (int i = 0; i + 1 < count; i++) {
      offer(bytes, i);
    }
    while (heapSize > 0) {
      int left = (int) heapKey[0];
      long value = heapValue[0];
      pop();
      int right = next[left];
      boolean current =
          end[left] > start[left] && right >= 0 && end[right] - start[left] == (int) (value >>> 32);
      if (!current) {
        continue;
      }
      end[left] = end[right];
      id[left] = (int) value;
      end[right] = start[right]; // Empty: entries that begin here are outdated.
      next[left] = next[right];
      if (next[left] >= 0) {
        previous[next[left]] = left;
        offer(bytes, left);
      }
      if (previous[left] >= 0) {
        offer(bytes, previous[left]);
      }
    }
  }

  int first() {
    return count > 0 ? 0 : -1;
  }

  int next(int symbol) {
    return next[symbol];
  }

  int token(int symbol) {
    return id[symbol];
  }

  int start(int symbol) {
    return start[symbol];
  }

  int end(int symbol) {
    return end[symbol];
  }

  /** Makes room for the next segment. */
  void clear() {
    count = 0;
    heapSize = 0;
  }

  private void offer(byte[] bytes, int left) {
    int right = next[left];
    long merged = rule.merge(bytes, start[left], end[right], id[left], id[right]);
    if (merged == NO_MERGE) {
      return;
    }
    if (heapSize == heapKey.length) {
      heapKey = Arrays.copyOf(heapKey, heapSize * 2);
      heapValue = Arrays.copyOf(heapValue, heapSize * 2);
    }
    long key = (merged & 0xFFFFFFFF00000000L) | left;
    long value = (long) (end[right] - start[left]) << 32 | (merged & 0xFFFFFFFFL);
    int at = heapSize++;
    while (at > 0) {
      int parent = (at - 1) >>> 1;
      if (Long.compareUnsigned(heapKey[parent], key) <= 0) {
        break;
      }
      heapKey[at] = heapKey[parent];
      heapValue[at] = heapValue[parent];
      at = parent;
    }
    heapKey[at] = key;
    heapValue[at] = value;
  }

  private void pop() {
    long key = heapKey[--heapSize];
    long value = heapValue[heapSize];
    int at = 0;
    while (true) {
      int child = 2 * at + 1;
      if (child >= heapSize) {
        break;
      }
      if (child + 1 < heapSize && Long.compareUnsigned(heapKey[child + 1], heapKey[child]) < 0) {
        child++;
      }
      if (Long.compareUnsigned(key, heapKey[child]) <= 0) {
        break;
      }
      heapKey[at] = heapKey[child];
      heapValue[at] = heapValue[child];
      at = child;
    }
    if (heapSize > 0) {
      heapKey[at] = key;
      heapValue[at] = value;
    }
  }
}
