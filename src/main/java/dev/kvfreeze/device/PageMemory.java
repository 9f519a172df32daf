package dev.kvfreeze.device;

/**
 * Device memory cut into equal page slots. It is the only owner of that memory; which slot belongs
 * to whom is the page pool's business (see {@code cache}).
 */
public interface PageMemory extends AutoCloseable {
  PageLayout layout();

  /** Slots there can be: the byte limit divided by the page size. Memory is taken as it is used. */
  int capacity();

  /** Bytes now taken from the device. */
  long allocatedBytes();

  /**
   * Makes sure that slots {@code [0, count)} are backed by memory.
   *
   * @throws OutOfMemoryError with the remedy when the device has no more
   */
  void ensure(int count);

  /** Copies a page out, bit for bit, to {@code words[offset .. offset + wordsPerPage)}. */
  void read(int slot, int[] words, int offset);

  /** Copies a page in, bit for bit. */
  void write(int slot, int[] words, int offset);

  @Override
  void close();
}
