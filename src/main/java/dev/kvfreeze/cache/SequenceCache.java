package dev.kvfreeze.cache;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PageMover;
import dev.kvfreeze.freeze.StepKind;

/**
 * The cache of one sequence. A forward pass is {@link #extend}, {@link #beginStep}, attention over
 * {@link #pages}, {@link #endStep}; the last copies pages that filled to the cold store, asks the
 * policy about every head and moves pages. Engine thread only.
 */
public final class SequenceCache implements AutoCloseable {
  private final String id;
  private final PageMemory memory;
  private final PagePool pool;
  private final ColdStore cold;
  private final FreezePolicy policy;
  private final PageLayout layout;
  private final HeadTable[] heads;
  private final HeadPages[][] pagesByLayer;
  private final Mover mover = new Mover();
  private final int[] transfer;

  private int length;

  /** Tokens whose pages have been offered to the cold store. */
  private int backedUpTokens;

  private long activePages;
  private long frozenPages;
  private long coldPages;
  private long freezes;
  private long thaws;
  private long bytesToCold;
  private long bytesFromCold;
  private String warning;
  private boolean closed;

  SequenceCache(
      String id,
      PageMemory memory,
      PagePool pool,
      ColdStore cold,
      FreezePolicy policy,
      int layers,
      int kvHeads) {
    this.id = id;
    this.memory = memory;
    this.pool = pool;
    this.cold = cold;
    this.policy = policy;
    this.layout = memory.layout();
    this.transfer = new int[layout.wordsPerPage()];
    this.heads = new HeadTable[layers * kvHeads];
    this.pagesByLayer = new HeadPages[layers][kvHeads];
    for (int i = 0; i < heads.length; i++) {
      heads[i] = new HeadTable(i / kvHeads, layout.pageTokens(), policy.head());
      pagesByLayer[i / kvHeads][i % kvHeads] = heads[i].active;
    }
  }

  /** Tokens in the sequence. */
  public int length() {
    return length;
  }

  /**
   * Makes room for tokens at the end, in all heads of all layers or in none.
   *
   * @throws PoolExhaustedException when the pool has too few pages
   */
  public void extend(int tokens) {
    int pageTokens = layout.pageTokens();
    int newPages = (length + tokens + pageTokens - 1) / pageTokens - heads[0].pageCount();
    long needed = (long) newPages * heads.length;
    if (needed > pool.freePages()) {
      throw new PoolExhaustedException(
          "document " + id + ": " + tokens + " more tokens need " + needed * layout.pageBytes()
              + " bytes of KV pages, the pool of " + pool.poolBytes() + " bytes has "
              + (long) pool.freePages() * layout.pageBytes()
              + " free; raise pool.bytes or lower batch.max"
              + (warning == null ? "" : " (" + warning + ")"));
    }
    for (HeadTable head : heads) {
      for (int i = 0; i < newPages; i++) {
        head.append(pool.acquire());
      }
      head.length(length + tokens);
    }
    activePages += needed;
    length += tokens;
  }

  /** The active pages of a layer by KV head, in order of position. */
  public HeadPages[] pages(int layer) {
    return pagesByLayer[layer];
  }

  /** Says what the coming forward pass is, after {@link #extend}. */
  public void beginStep(StepKind kind) {
    boolean wantMass = policy.wantsMass(kind);
    for (HeadTable head : heads) {
      head.active.wantMass = wantMass;
    }
  }

  /** Ends a forward pass: backs up, decides, moves. */
  public void endStep(StepKind kind) {
    if (!policy.mayFreeze()) {
      return;
    }
    backUpFilledPages();
    for (HeadTable head : heads) {
      mover.head = head;
      head.policy.step(kind, head, mover);
      head.refresh();
    }
  }

  private void backUpFilledPages() {
    int first = backedUpTokens / layout.pageTokens();
    int end = length / layout.pageTokens();
    for (HeadTable head : heads) {
      for (int page = first; page < end; page++) {
        backUp(head, page);
      }
    }
    backedUpTokens = end * layout.pageTokens();
  }

  private void backUp(HeadTable head, int page) {
    if (head.backup(page) != HeadTable.NO_BACKUP || warning != null) {
      return;
    }
    memory.read(head.slot(page), transfer, 0);
    try {
      head.backup(page, cold.store(transfer, 0));
      coldPages++;
      bytesToCold += layout.pageBytes();
    } catch (ColdStoreFullException e) {
      // Without a backup a page simply stays active: slower and larger, but nothing is lost.
      warning = "pages are no longer frozen: " + e.getMessage();
    }
  }

  /** Drops tokens from the end, so that {@code tokens} are left. */
  public void truncate(int tokens) {
    if (tokens < 0 || tokens > length) {
      throw new IllegalArgumentException(
          "document " + id + ": cannot go back to " + tokens + " tokens of " + length);
    }
    int pageTokens = layout.pageTokens();
    int keptPages = (tokens + pageTokens - 1) / pageTokens;
    boolean partialTail = tokens % pageTokens != 0;
    if (partialTail && frozenTails(keptPages - 1) > pool.freePages()) {
      throw new PoolExhaustedException(
          "document " + id + ": no room to thaw the pages it goes back to; raise pool.bytes");
    }
    for (HeadTable head : heads) {
      while (head.pageCount() > keptPages) {
        releasePage(head, head.pageCount() - 1);
        head.removeLast();
      }
      if (partialTail) {
        thaw(head, keptPages - 1);
        dropBackup(head, keptPages - 1);
      }
      head.refresh();
      head.length(tokens);
    }
    length = tokens;
    backedUpTokens = Math.min(backedUpTokens, tokens / pageTokens * pageTokens);
  }

  private int frozenTails(int page) {
    int count = 0;
    for (HeadTable head : heads) {
      count += head.active(page) ? 0 : 1;
    }
    return count;
  }

  private void releasePage(HeadTable head, int page) {
    if (head.active(page)) {
      pool.release(head.slot(page));
      activePages--;
    } else {
      frozenPages--;
    }
    dropBackup(head, page);
  }

  private void dropBackup(HeadTable head, int page) {
    if (head.backup(page) != HeadTable.NO_BACKUP) {
      cold.release(head.backup(page));
      head.backup(page, HeadTable.NO_BACKUP);
      coldPages--;
    }
  }

  private void thaw(HeadTable head, int page) {
    if (head.active(page) || pool.freePages() == 0) {
      return;
    }
    int slot = pool.acquire();
    cold.load(head.backup(page), transfer, 0);
    memory.write(slot, transfer, 0);
    head.thaw(page, slot);
    activePages++;
    frozenPages--;
    thaws++;
    bytesFromCold += layout.pageBytes();
  }

  private void freeze(HeadTable head, int page) {
    if (!head.active(page) || head.backup(page) == HeadTable.NO_BACKUP) {
      return;
    }
    pool.release(head.slot(page));
    head.freeze(page);
    activePages--;
    frozenPages++;
    freezes++;
  }

  /** What the sequence holds now. */
  public CacheUsage usage() {
    int pageTokens = layout.pageTokens();
    // The tail page, always active, may not be full.
    double missing = (double) heads[0].pageCount() * pageTokens - length;
    return new CacheUsage(
        activePages,
        frozenPages,
        (double) activePages * pageTokens / heads.length - missing,
        (double) frozenPages * pageTokens / heads.length,
        activePages * layout.pageBytes(),
        coldPages * layout.pageBytes());
  }

  /** What has been moved so far. */
  public CacheTraffic traffic() {
    return new CacheTraffic(freezes, thaws, bytesToCold, bytesFromCold);
  }

  /** Why pages are no longer frozen, or null. */
  public String warning() {
    return warning;
  }

  /** Gives all pages back; safe to call twice. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    for (HeadTable head : heads) {
      for (int page = head.pageCount() - 1; page >= 0; page--) {
        releasePage(head, page);
        head.removeLast();
      }
      head.refresh();
    }
    length = 0;
  }

  private final class Mover implements PageMover {
    private HeadTable head;

    @Override
    public void freeze(int page) {
      SequenceCache.this.freeze(head, page);
    }

    @Override
    public void thaw(int page) {
      SequenceCache.this.thaw(head, page);
    }
  }
}
