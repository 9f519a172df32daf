package dev.kvfreeze.cache;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchedPage;
import java.util.Arrays;
import java.util.List;

/**
 * The page table of one KV head of one layer: for each logical page its slot, or {@link #NONE} when
 * frozen, and its cold handle, or {@link #NONE} when not backed up. {@link #pages} is the list of
 * the active ones that the attention kernel reads.
 */
final class HeadTable {
  static final int NONE = -1;

  /** Keys whose mean is worth subtracting from all later ones. */
  private static final int CENTRE_TOKENS = 64;

  final int layer;

  /** Sketches of its first pages, or null when the policy wants none. */
  final KeySketches sketches;

  /** Boxes of its first pages, or null when the policy wants none. */
  final KeyBoxes boxes;

  final HeadPages pages = new HeadPages();
  int count;
  int[] slots = new int[16];
  long[] handles = new long[16];

  /** Active pages that are left out of the attention. */
  private boolean[] excluded = new boolean[16];

  /** Index in {@link #pages} of each page that was active when the list was last rebuilt. */
  private int[] listed = new int[16];

  /** First logical page that moved since the list was rebuilt. */
  private int firstMoved = Integer.MAX_VALUE;

  HeadTable(int layer, KeySketches sketches, KeyBoxes boxes) {
    this.layer = layer;
    this.sketches = sketches;
    this.boxes = boxes;
  }

  /** Adds a page that has no slot yet. */
  void appendUnwritten() {
    ensureOneMore();
    slots[count] = NONE;
    handles[count] = NONE;
    listed[count] = NONE;
    excluded[count] = false;
    moved(count);
    count++;
  }

  private void ensureOneMore() {
    if (count == slots.length) {
      slots = Arrays.copyOf(slots, 2 * count);
      handles = Arrays.copyOf(handles, 2 * count);
      listed = Arrays.copyOf(listed, 2 * count);
      excluded = Arrays.copyOf(excluded, 2 * count);
    }
  }

  /** Adds an active page at the end. */
  void append(int slot, int firstPosition) {
    ensureOneMore();
    slots[count] = slot;
    handles[count] = NONE;
    int index = pages.count;
    pages.ensure(index + 1);
    pages.slots[index] = slot;
    pages.firstPositions[index] = firstPosition;
    pages.mass[index] = 0;
    pages.changed(index);
    listed[count] = index;
    excluded[count] = false;
    pages.count = index + 1;
    count++;
  }

  boolean active(int page) {
    return slots[page] >= 0;
  }

  float mass(int page) {
    int index = listed[page];
    return index >= 0 && slots[page] >= 0 && pages.wantMass ? pages.mass[index] : 0;
  }

  /** Adds full pages that have no sketch yet; none before there are enough keys for a mean. */
  void collectUnsketched(int full, int pageTokens, List<SketchedPage> into) {
    if (sketches == null
        || sketches.pages >= full
        || (sketches.centre == null && full * pageTokens < CENTRE_TOKENS)) {
      return;
    }
    sketches.ensure(full);
    for (int page = sketches.pages; page < full; page++) {
      into.add(new SketchedPage(sketches, page, slots[page]));
    }
  }

  /** Whether there is room for the sketches of the first {@code full} pages. */
  boolean reserveSketches(int full, int pageTokens) {
    return sketches == null || full * pageTokens < CENTRE_TOKENS || sketches.reserve(full);
  }

  /** By sketches, by boxes, or the attention that was measured. */
  float estimate(int page) {
    if (sketches != null) {
      return page < sketches.pages ? sketches.mass[page] : 0;
    }
    return boxes != null ? boxes.estimate(page) : mass(page);
  }

  /** Of the first {@code full} pages those that can be found again once they are frozen. */
  int findable(int full) {
    int found = sketches == null ? full : Math.min(full, sketches.pages);
    return boxes == null ? found : Math.min(found, boxes.pages());
  }

  boolean excluded(int page) {
    return excluded[page];
  }

  void setExcluded(int page, boolean value) {
    excluded[page] = value;
    moved(page);
  }

  /** Bytes of what stays of frozen pages. */
  long summaryBytes() {
    return (sketches == null ? 0 : sketches.bytes()) + (boxes == null ? 0 : boxes.bytes());
  }

  /** Forgets what stays of pages from {@code page} on. */
  void cutSummaries(int page) {
    if (sketches != null) {
      sketches.cut(page);
    }
    if (boxes != null) {
      boxes.cut(page);
    }
  }

  void releaseSummaries() {
    if (sketches != null) {
      sketches.release();
    }
    if (boxes != null) {
      boxes.release();
    }
  }

  void moved(int page) {
    firstMoved = Math.min(firstMoved, page);
  }

  /** Drops logical pages from the end; their slots and handles are the caller's to release. */
  void cut(int newCount) {
    moved(newCount);
    count = newCount;
  }

  /** Forgets all pages, which have been dropped, and what stays of them. */
  void clear(PageMemory memory) {
    cut(0);
    relist(memory.layout().pageTokens(), 0);
    memory.forget(pages);
    releaseSummaries();
  }

  /** Rebuilds the list of active pages from the first one that moved. */
  void relist(int pageTokens, int length) {
    if (firstMoved == Integer.MAX_VALUE) {
      return;
    }
    int start = Math.min(firstMoved, count);
    int index = 0;
    for (int page = start - 1; page >= 0; page--) {
      if (listed[page] >= 0) {
        index = listed[page] + 1;
        break;
      }
    }
    pages.ensure(index + count - start);
    pages.changed(index);
    for (int page = start; page < count; page++) {
      int slot = slots[page];
      if (slot < 0 || excluded[page]) {
        listed[page] = NONE;
        continue;
      }
      listed[page] = index;
      pages.slots[index] = slot;
      pages.firstPositions[index] = page * pageTokens;
      pages.tokenCounts[index] = pageTokens;
      index++;
    }
    if (count > 0 && slots[count - 1] >= 0) {
      pages.tokenCounts[index - 1] = length - (count - 1) * pageTokens;
    }
    pages.count = index;
    firstMoved = Integer.MAX_VALUE;
  }

  /** Sets the tokens of the listed pages from logical page {@code page} on; all are active. */
  void fill(int page, int pageTokens, int length) {
    for (int p = page; p < count; p++) {
      pages.tokenCounts[listed[p]] = Math.min(pageTokens, length - p * pageTokens);
    }
  }
}
