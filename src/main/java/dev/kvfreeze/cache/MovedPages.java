package dev.kvfreeze.cache;

import java.util.Arrays;

/** Which pages of a head came or went since its list was made: the few, or all from one on. */
final class MovedPages {
  /** Decode steps move a few; a prompt that passes through moves nearly all. */
  private static final int FEW = 16;

  private final int[] pages = new int[FEW];
  private int count;
  private int first = Integer.MAX_VALUE;
  private boolean many;

  void add(int page) {
    first = Math.min(first, page);
    if (count < FEW) {
      pages[count++] = page;
    } else {
      many = true;
    }
  }

  /** Any page from this one on. */
  void addFrom(int page) {
    first = Math.min(first, page);
    many = true;
  }

  boolean none() {
    return first == Integer.MAX_VALUE;
  }

  /** The first of them. */
  int first() {
    return first;
  }

  /** Whether only its first is known. */
  boolean many() {
    return many;
  }

  /** Puts the few in ascending order, each once. */
  void sort() {
    Arrays.sort(pages, 0, count);
    int distinct = 0;
    for (int i = 0; i < count; i++) {
      if (i == 0 || pages[i] != pages[distinct - 1]) {
        pages[distinct++] = pages[i];
      }
    }
    count = distinct;
  }

  /** How many are known by name. */
  int count() {
    return count;
  }

  int page(int index) {
    return pages[index];
  }

  void clear() {
    count = 0;
    first = Integer.MAX_VALUE;
    many = false;
  }
}
