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

  /** Since the list was made. */
  private final MovedPages moved = new MovedPages();

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

  /** Says that a page came or went. */
  void moved(int page) {
    moved.add(page);
  }

  /** Says that any page from this one on may have come or gone, or may hold other tokens. */
  void movedFrom(int page) {
    moved.addFrom(page);
  }

  /** Drops logical pages from the end; their slots and handles are the caller's to release. */
  void cut(int newCount) {
    movedFrom(newCount);
    count = newCount;
  }

  /** Forgets all pages, which have been dropped, and what stays of them. */
  void clear(PageMemory memory) {
    cut(0);
    relist(memory.layout().pageTokens(), 0);
    memory.forget(pages);
    releaseSummaries();
  }

  /** Brings the list of active pages up to date, from the first one that moved on. */
  void relist(int pageTokens, int length) {
    if (moved.none()) {
      return;
    }
    int start = Math.min(moved.first(), count);
    int index = listedBefore(start);
    pages.changed(index);
    pages.count = moved.many() ? rebuild(start, index, pageTokens) : merge(index, pageTokens);
    if (count > 0 && listed[count - 1] >= 0) {
      pages.tokenCounts[listed[count - 1]] = length - (count - 1) * pageTokens;
    }
    moved.clear();
  }

  private int listedBefore(int start) {
    for (int page = start - 1; page >= 0; page--) {
      if (listed[page] >= 0) {
        return listed[page] + 1;
      }
    }
    return 0;
  }

  private boolean attended(int page) {
    return slots[page] >= 0 && !excluded[page];
  }

  /** Looks through all pages from {@code start} on. */
  private int rebuild(int start, int index, int pageTokens) {
    pages.ensure(index + count - start);
    int next = index;
    for (int page = start; page < count; page++) {
      if (attended(page)) {
        list(page, next++, pageTokens);
      } else {
        listed[page] = NONE;
      }
    }
    return next;
  }

  /** Takes out of the list what went and puts in what came: active pages are few among all. */
  private int merge(int index, int pageTokens) {
    int kept = index;
    for (int i = index; i < pages.count; i++) {
      int page = pages.firstPositions[i] / pageTokens;
      if (attended(page)) {
        list(page, kept++, pageTokens);
      } else {
        listed[page] = NONE;
      }
    }
    moved.sort();
    int coming = 0;
    for (int i = 0; i < moved.count(); i++) {
      coming += comes(moved.page(i)) ? 1 : 0;
    }
    pages.ensure(kept + coming);
    // From the end, so that nothing is overwritten that is still to be read.
    int from = kept - 1;
    int to = kept + coming - 1;
    for (int i = moved.count() - 1; i >= 0; i--) {
      int page = moved.page(i);
      if (!comes(page)) {
        continue;
      }
      while (from >= index && pages.firstPositions[from] > page * pageTokens) {
        list(pages.firstPositions[from--] / pageTokens, to--, pageTokens);
      }
      list(page, to--, pageTokens);
    }
    return kept + coming;
  }

  private boolean comes(int page) {
    return attended(page) && listed[page] == NONE;
  }

  private void list(int page, int index, int pageTokens) {
    listed[page] = index;
    pages.slots[index] = slots[page];
    pages.firstPositions[index] = page * pageTokens;
    pages.tokenCounts[index] = pageTokens;
  }

  /** Sets the tokens of the listed pages from logical page {@code page} on; all are active. */
  void fill(int page, int pageTokens, int length) {
    for (int p = page; p < count; p++) {
      pages.tokenCounts[listed[p]] = Math.min(pageTokens, length - p * pageTokens);
    }
  }
}
