package dev.kvfreeze.device.cuda;

import java.util.Map;
import java.util.TreeMap;

/**
 * Blocks of any size taken from the upper end of a region whose lower end holds pages: where the
 * two meet moves with what is needed. Offsets, no addresses; best fit, neighbours merged.
 */
final class TopRoom {
  private final long size;
  private final TreeMap<Long, Long> free = new TreeMap<>();
  private long lowest;

  TopRoom(long size) {
    this.size = size;
    this.lowest = size;
  }

  /** Everything below is not taken. */
  long lowest() {
    return lowest;
  }

  /** Bytes taken. */
  long usedBytes() {
    long unused = 0;
    for (long bytes : free.values()) {
      unused += bytes;
    }
    return size - lowest - unused;
  }

  /**
   * Takes a block.
   *
   * @param floor offset that the blocks may not reach below
   * @return its offset, or -1 when there is no room
   */
  long take(long bytes, long floor) {
    Map.Entry<Long, Long> best = null;
    for (Map.Entry<Long, Long> entry : free.entrySet()) {
      if (entry.getValue() >= bytes && (best == null || entry.getValue() < best.getValue())) {
        best = entry;
      }
    }
    if (best == null) {
      if (lowest - bytes < floor) {
        return -1;
      }
      lowest -= bytes;
      return lowest;
    }
    long offset = best.getKey();
    long rest = best.getValue() - bytes;
    free.remove(offset);
    if (rest > 0) {
      free.put(offset + bytes, rest);
    }
    return offset;
  }

  void release(long offset, long bytes) {
    long start = offset;
    long end = offset + bytes;
    Map.Entry<Long, Long> before = free.lowerEntry(start);
    if (before != null && before.getKey() + before.getValue() == start) {
      start = before.getKey();
      free.remove(start);
    }
    Long after = free.remove(end);
    if (after != null) {
      end += after;
    }
    if (start == lowest) {
      lowest = end;
    } else {
      free.put(start, end - start);
    }
  }
}
