package dev.kvfreeze.cache;

import dev.kvfreeze.device.PageMemory;
import java.util.Arrays;

/**
 * The slots of a page memory: which are in use is decided here only. Freed slots are given out again
 * last in, first out, so that they are still in a cache. Engine thread only.
 */
public final class PagePool {
  private final PageMemory memory;
  private int[] free = new int[64];
  private int freeCount;

  /** Slots at and above this one have never been given out. */
  private int highWater;

  public PagePool(PageMemory memory) {
    this.memory = memory;
  }

  /**
   * Takes a slot.
   *
   * @throws PoolExhaustedException when there is none
   */
  public int acquire() {
    if (freeCount > 0) {
      return free[--freeCount];
    }
    if (highWater == memory.capacity()) {
      throw new PoolExhaustedException(
          "the page pool of " + poolBytes() + " bytes is full; raise pool.bytes or lower batch.max");
    }
    memory.ensure(highWater + 1);
    return highWater++;
  }

  /** Gives a slot back; the caller must have been given it and not have returned it since. */
  public void release(int slot) {
    if (slot < 0 || slot >= highWater || freeCount >= highWater) {
      throw new IllegalStateException("slot " + slot + " is not in use");
    }
    if (freeCount == free.length) {
      free = Arrays.copyOf(free, 2 * freeCount);
    }
    free[freeCount++] = slot;
  }

  public int usedPages() {
    return highWater - freeCount;
  }

  public int freePages() {
    return memory.capacity() - usedPages();
  }

  public int capacity() {
    return memory.capacity();
  }

  long poolBytes() {
    return (long) memory.capacity() * memory.layout().pageBytes();
  }
}
