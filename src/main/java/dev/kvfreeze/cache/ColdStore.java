package dev.kvfreeze.cache;

/**
 * Where pages are kept while they are frozen. A page is stored once, when it fills, and may be loaded
 * any number of times; what is loaded is bit-equal to what was stored. Engine thread only.
 */
public interface ColdStore extends AutoCloseable {
  /**
   * Copies a page in from {@code words[offset ..]} and returns its handle.
   *
   * @throws ColdStoreFullException when the limit or the disk is reached
   */
  long store(int[] words, int offset);

  /** Copies a page out. */
  void load(long handle, int[] words, int offset);

  /** Forgets a page; its room is used again. */
  void release(long handle);

  /** Bytes of the pages now held. */
  long bytes();

  long limitBytes();

  /** Frees everything; safe to call twice. */
  @Override
  void close();
}
