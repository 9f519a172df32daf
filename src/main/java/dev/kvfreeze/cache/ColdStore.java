package dev.kvfreeze.cache;

import dev.kvfreeze.device.PageMemory;

/**
 * Where the copies of full pages lie, off the device. All pages of a store have the same number of
 * words. Engine thread only.
 */
public interface ColdStore extends AutoCloseable {
  /**
   * Keeps a copy of {@code words[offset .. offset + wordsPerPage)}.
   *
   * @return its handle; handles that were released are used again
   * @throws ColdStoreFullException when there is no room; the pages already stored are unharmed
   */
  long store(int[] words, int offset);

  /** Copies a stored page, bit for bit, to {@code words[offset .. offset + wordsPerPage)}. */
  void load(long handle, int[] words, int offset);

  /**
   * Keeps a copy of a page of the device's.
   *
   * @param staging words of a page to work in
   * @return its handle
   * @throws ColdStoreFullException when there is no room
   */
  default long store(PageMemory memory, int slot, int[] staging) {
    memory.read(slot, staging, 0);
    return store(staging, 0);
  }

  /** Copies a stored page, bit for bit, to a slot of the device. */
  default void load(long handle, PageMemory memory, int slot, int[] staging) {
    load(handle, staging, 0);
    memory.write(slot, staging, 0);
  }

  /**
   * Copies the first {@code count} of some stored pages to as many distinct slots, in no given
   * order. When it fails, the slots may hold anything.
   */
  default void load(int count, long[] handles, PageMemory memory, int[] slots, int[] staging) {
    for (int i = 0; i < count; i++) {
      load(handles[i], memory, slots[i], staging);
    }
  }

  /** Whether the device moves pages by itself, while it computes. */
  default boolean movesBesideComputing() {
    return false;
  }

  /** Forgets a page. */
  void release(long handle);

  /** Bytes of the pages now stored. */
  long bytes();

  /** Most bytes it may hold. */
  long limitBytes();

  /** Frees everything; closing twice is safe. */
  @Override
  void close();
}
