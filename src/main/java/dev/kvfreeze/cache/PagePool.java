package dev.kvfreeze.cache;

import dev.kvfreeze.device.PageMemory;
import java.util.Arrays;
import java.util.BitSet;

/** Slots of a {@link PageMemory}: who has which is decided here only. Engine thread only. */
public final class PagePool {
  private final PageMemory memory;
  private final BitSet owned = new BitSet();
  private int[] returned = new int[64];
  private int returnedCount;

  /** Slots at and above this were never handed out. */
  private int fresh;

  private int used;

  public PagePool(PageMemory memory) {
    this.memory = memory;
  }

  /**
   * Hands out a slot; the caller owns it until {@link #release}.
   *
   * @throws PoolExhaustedException when all slots are owned
   */
  public int acquire() {
    int slot;
    if (returnedCount > 0) {
      slot = returned[--returnedCount];
    } else if (fresh < memory.capacity()) {
      memory.ensure(fresh + 1);
      slot = fresh++;
    } else {
      long pageBytes = memory.layout().pageBytes();
      throw PoolExhaustedException.of("a page", pageBytes, 0, capacity() * pageBytes);
    }
    owned.set(slot);
    used++;
    return slot;
  }

  /**
   * A slot for what could do without, or -1: one that was used before, or a fresh one while half of
   * the memory is. What shares the memory with pages cannot have slots that were once used.
   */
  int acquireSpare() {
    boolean fits = returnedCount > 0 || fresh < memory.capacity() / 2;
    return fits ? acquire() : -1;
  }

  /** So many slots, or none and the exception that tells why. */
  int[] acquire(int count) {
    int[] slots = new int[count];
    int taken = 0;
    try {
      while (taken < count) {
        slots[taken] = acquire();
        taken++;
      }
      return slots;
    } finally {
      // The device may refuse memory below the pool's limit; then nothing may stay behind.
      if (taken < count) {
        while (taken > 0) {
          release(slots[--taken]);
        }
      }
    }
  }

  /**
   * Takes a slot back.
   *
   * @throws IllegalStateException when nobody owns it
   */
  public void release(int slot) {
    if (slot < 0 || !owned.get(slot)) {
      throw new IllegalStateException("page slot " + slot + " is released but not owned");
    }
    owned.clear(slot);
    if (returnedCount == returned.length) {
      returned = Arrays.copyOf(returned, 2 * returnedCount);
    }
    returned[returnedCount++] = slot;
    used--;
  }

  public int usedPages() {
    return used;
  }

  public int freePages() {
    return Math.max(0, memory.capacity() - used);
  }

  public int capacity() {
    return memory.capacity();
  }
}
