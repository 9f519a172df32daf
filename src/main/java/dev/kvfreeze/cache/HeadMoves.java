package dev.kvfreeze.cache;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.freeze.HeadView;
import dev.kvfreeze.freeze.PageMover;
import dev.kvfreeze.freeze.PageQuestions;

/** The head that the policy looks at, and what it decides. */
final class HeadMoves implements HeadView, PageMover, PageQuestions {
  private final SequenceCache owner;
  private final KvCache cache;
  private final int pageTokens;

  /** log2 of the page's tokens where that is whole, or -1: pages are looked up by the thousand. */
  private final int pageShift;

  private HeadTable table;

  HeadMoves(SequenceCache owner, KvCache cache) {
    this.owner = owner;
    this.cache = cache;
    this.pageTokens = cache.pageTokens;
    this.pageShift =
        Integer.bitCount(pageTokens) == 1 ? Integer.numberOfTrailingZeros(pageTokens) : -1;
  }

  void look(HeadTable next) {
    table = next;
  }

  @Override
  public int layer() {
    return table.layer;
  }

  @Override
  public int pageCount() {
    return table.count;
  }

  @Override
  public int pageTokens() {
    return pageTokens;
  }

  @Override
  public int length() {
    return owner.length();
  }

  @Override
  public long activePages() {
    return owner.counts.active(owner.pageCount());
  }

  @Override
  public float estimate(int page) {
    return table.estimate(page);
  }

  @Override
  public int activeTokens() {
    // The list is rebuilt only after the policy has looked.
    HeadPages pages = table.pages;
    return pages.count == 0
        ? 0
        : (pages.count - 1) * pageTokens + pages.tokenCounts[pages.count - 1];
  }

  @Override
  public int listedCount() {
    return table.pages.count;
  }

  @Override
  public int listedPage(int index) {
    int position = table.pages.firstPositions[index];
    return pageShift >= 0 ? position >> pageShift : position / pageTokens;
  }

  @Override
  public boolean active(int page) {
    return table.slots[page] >= 0;
  }

  @Override
  public float mass(int page) {
    return table.mass(page);
  }

  @Override
  public void freeze(int page) {
    HeadTable head = table;
    boolean full = (page + 1L) * pageTokens <= owner.length();
    boolean findable = page < head.findable(head.count);
    if (!full || !findable || head.slots[page] < 0 || !owner.backups.backUp(head, page)) {
      return;
    }
    cache.pool.release(head.slots[page]);
    head.slots[page] = HeadTable.NONE;
    head.moved(page);
    owner.counts.frozen++;
    owner.counts.frozenTotal++;
  }

  @Override
  public void thaw(int page) {
    if (table.slots[page] >= 0) {
      return;
    }
    if (cache.pool.freePages() == 0) {
      owner.counts.deferredThaws++;
      return;
    }
    owner.thaw(table, page);
  }

  @Override
  public void askAll() {
    table.sketches.askAll();
  }

  @Override
  public void ask(int[] pages, int count, float unasked) {
    table.sketches.ask(pages, count, unasked);
  }

  @Override
  public void exclude(int page) {
    boolean full = (page + 1L) * pageTokens <= owner.length();
    if (full && table.slots[page] >= 0 && !table.excluded(page)) {
      table.setExcluded(page, true);
      owner.counts.excluded++;
    }
  }

  @Override
  public void include(int page) {
    if (table.excluded(page)) {
      table.setExcluded(page, false);
      owner.counts.excluded--;
    }
  }
}
