package dev.kvfreeze.device;

import dev.kvfreeze.model.Rope;
import java.util.Optional;

/**
 * Device memory cut into equal page slots. It is the only owner of that memory; which slot belongs
 * to whom is the page pool's business (see {@code cache}).
 */
public interface PageMemory extends AutoCloseable {
  PageLayout layout();

  /**
   * Slots there can be: the byte limit divided by the page size. Memory is taken as it is used.
   * Where sketches share the memory, it falls and rises with them, never below the slots that were
   * made sure of.
   */
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

  /**
   * Copies pages in, bit for bit: that of {@code slots[i]} from {@code words[i]}, where it begins
   * at {@code offsets[i]}. The slots are distinct.
   */
  default void write(int count, int[] slots, int[][] words, int[] offsets) {
    for (int i = 0; i < count; i++) {
      write(slots[i], words[i], offsets[i]);
    }
  }

  /**
   * Host memory that pages move to and from beside the computing; empty where pages are in host
   * memory anyway.
   *
   * @param limitBytes most bytes it takes
   */
  default Optional<HostPages> hostPages(long limitBytes) {
    return Optional.empty();
  }

  /**
   * Empty sketches of a head whose pages are here.
   *
   * @param rope how the keys were turned to their positions, for devices that undo it
   */
  default KeySketches newSketches(int planes, Rope rope) {
    return new KeySketches(layout().headSize(), layout().pageTokens(), planes, rope);
  }

  /**
   * The same of the dimensions that matter, on devices that know them: {@link
   * Device#knowsSketchChannels}.
   */
  default KeySketches newSketches(SketchChannels channels, Rope rope) {
    return new KeySketches(layout().pageTokens(), channels, rope);
  }

  /** A list of pages here is used no more: the device may forget its copy. */
  default void forget(HeadPages pages) {}

  /** Begins the moves that were asked for and not begun yet. */
  default void sendMoves() {}

  @Override
  void close();
}
