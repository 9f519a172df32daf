package dev.kvfreeze.cache;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.freeze.HeadPolicy;
import dev.kvfreeze.freeze.HeadView;
import java.util.Arrays;

/**
 * The page table of one KV head of one layer of one sequence: where each logical page lies, and the
 * list of active ones that attention reads. Its owner, {@link SequenceCache}, acquires and releases
 * the slots.
 */
final class HeadTable implements HeadView {
  static final int FROZEN = -1;
  static final long NO_BACKUP = -1;

  private final int layer;
  private final int pageTokens;
  final HeadPolicy policy;
  final HeadPages active = new HeadPages();

  /** Slot by logical page, {@link #FROZEN} for a frozen one. */
  private int[] slots = new int[16];

  /** Handle in the cold store by logical page, {@link #NO_BACKUP} before it is stored. */
  private long[] backups = new long[16];

  /** Place in {@link #active} by logical page; meaningful for active pages. */
  private int[] places = new int[16];

  private int pageCount;
  private int length;
  private boolean changed;

  HeadTable(int layer, int pageTokens, HeadPolicy policy) {
    this.layer = layer;
    this.pageTokens = pageTokens;
    this.policy = policy;
  }

  @Override
  public int layer() {
    return layer;
  }

  @Override
  public int pageCount() {
    return pageCount;
  }

  @Override
  public int pageTokens() {
    return pageTokens;
  }

  @Override
  public int length() {
    return length;
  }

  @Override
  public boolean active(int page) {
    return slots[page] != FROZEN;
  }

  @Override
  public float mass(int page) {
    return slots[page] == FROZEN ? 0 : active.mass[places[page]];
  }

  int slot(int page) {
    return slots[page];
  }

  long backup(int page) {
    return backups[page];
  }

  void backup(int page, long handle) {
    backups[page] = handle;
  }

  /** Adds an empty page at the end. */
  void append(int slot) {
    if (pageCount == slots.length) {
      int size = 2 * pageCount;
      slots = Arrays.copyOf(slots, size);
      backups = Arrays.copyOf(backups, size);
      places = Arrays.copyOf(places, size);
    }
    slots[pageCount] = slot;
    backups[pageCount] = NO_BACKUP;
    active.ensure(active.count + 1);
    places[pageCount] = active.count;
    active.slots[active.count] = slot;
    active.firstPositions[active.count] = pageCount * pageTokens;
    active.count++;
    pageCount++;
  }

  /** Sets the sequence's length; pages for it have been appended. */
  void length(int tokens) {
    int firstChanged = Math.min(length, tokens) / pageTokens;
    length = tokens;
    for (int place = active.count - 1; place >= 0; place--) {
      int first = active.firstPositions[place];
      if (first / pageTokens < firstChanged) {
        break;
      }
      active.tokenCounts[place] = Math.min(pageTokens, tokens - first);
    }
  }

  /** Marks a page frozen; its slot is the caller's to release. */
  void freeze(int page) {
    slots[page] = FROZEN;
    changed = true;
  }

  void thaw(int page, int slot) {
    slots[page] = slot;
    changed = true;
  }

  /** Forgets the last page, whose slot and backup are the caller's to release. */
  void removeLast() {
    pageCount--;
    changed = true;
  }

  /** Brings the list of active pages up to date after moves. */
  void refresh() {
    if (!changed) {
      return;
    }
    changed = false;
    active.ensure(pageCount);
    int count = 0;
    for (int page = 0; page < pageCount; page++) {
      if (slots[page] != FROZEN) {
        int first = page * pageTokens;
        places[page] = count;
        active.slots[count] = slots[page];
        active.firstPositions[count] = first;
        active.tokenCounts[count] = Math.min(pageTokens, length - first);
        count++;
      }
    }
    active.count = count;
  }
}
