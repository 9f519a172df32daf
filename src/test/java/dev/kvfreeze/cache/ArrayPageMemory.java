package dev.kvfreeze.cache;

import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;

/** Page memory in one array, for tests; refuses slots beyond {@link #backedLimit}. */
final class ArrayPageMemory implements PageMemory {
  final PageLayout layout;
  final int[] words;
  int backed;
  int backedLimit;
  boolean closed;

  ArrayPageMemory(PageLayout layout, int capacity) {
    this.layout = layout;
    this.words = new int[capacity * layout.wordsPerPage()];
    this.backedLimit = capacity;
  }

  @Override
  public PageLayout layout() {
    return layout;
  }

  @Override
  public int capacity() {
    return words.length / layout.wordsPerPage();
  }

  @Override
  public long allocatedBytes() {
    return (long) backed * layout.pageBytes();
  }

  @Override
  public void ensure(int count) {
    if (count > backedLimit) {
      throw new OutOfMemoryError("test device");
    }
    backed = Math.max(backed, count);
  }

  @Override
  public void read(int slot, int[] target, int offset) {
    System.arraycopy(words, at(slot), target, offset, layout.wordsPerPage());
  }

  @Override
  public void write(int slot, int[] source, int offset) {
    System.arraycopy(source, offset, words, at(slot), layout.wordsPerPage());
  }

  int at(int slot) {
    if (slot < 0 || slot >= backed) {
      throw new AssertionError("slot " + slot + " of " + backed + " backed ones");
    }
    return slot * layout.wordsPerPage();
  }

  @Override
  public void close() {
    closed = true;
  }
}
