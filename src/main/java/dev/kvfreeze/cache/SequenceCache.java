package dev.kvfreeze.cache;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.freeze.HeadView;
import dev.kvfreeze.freeze.PageMover;
import dev.kvfreeze.freeze.StepKind;

/**
 * The KV cache of one document: a page table by layer and KV head. A step is {@link #extend},
 * {@link #beginStep}, the forward pass over {@link #pages}, {@link #endStep}. Engine thread only.
 */
public final class SequenceCache implements AutoCloseable {
  private static final int NONE = HeadTable.NONE;
  private static final int[] NO_SLOTS = {};

  private final KvCache cache;
  private final String id;
  private final int pageTokens;
  private final HeadTable[] tables;
  private final HeadPages[][] pages;
  private final Moves moves = new Moves();
  private final boolean mayFreeze;
  private int length;

  /** Logical pages below this were offered to the cold store when they filled. */
  private int offered;

  private long frozenPages;
  private long coldPages;
  private long frozenTotal;
  private long thawedTotal;
  private long backedUpTotal;
  private long deferredThaws;
  private String warning;
  private boolean closed;

  SequenceCache(KvCache cache, String id) {
    this.cache = cache;
    this.id = id;
    this.pageTokens = cache.pageTokens;
    this.mayFreeze = cache.policy.mayFreeze();
    this.tables = new HeadTable[cache.layers * cache.kvHeads];
    this.pages = new HeadPages[cache.layers][cache.kvHeads];
    for (int i = 0; i < tables.length; i++) {
      int layer = i / cache.kvHeads;
      tables[i] = new HeadTable(layer, cache.policy.head());
      pages[layer][i % cache.kvHeads] = tables[i].pages;
    }
  }

  /** Tokens in the sequence, those of the present forward pass included. */
  public int length() {
    return length;
  }

  /**
   * Makes room for more tokens at the end in every layer and head, or changes nothing.
   *
   * @throws PoolExhaustedException when the pool has too few free pages
   */
  public void extend(int tokens) {
    requireOpen();
    if (tokens < 0) {
      throw new IllegalArgumentException(id + ": cannot extend by " + tokens + " tokens");
    }
    int newLength = Math.addExact(length, tokens);
    int oldPages = pageCount();
    int newPages = (int) cache.pagesFor(newLength) - oldPages;
    long needed = (long) newPages * tables.length;
    if (needed > cache.pool.freePages()) {
      throw exhausted(tokens + " tokens", needed);
    }
    int[] slots = acquire((int) needed);
    int firstChanged = length / pageTokens;
    int next = 0;
    for (HeadTable table : tables) {
      for (int page = oldPages; page < oldPages + newPages; page++) {
        table.append(slots[next++], page * pageTokens);
      }
      table.fill(firstChanged, pageTokens, newLength);
    }
    length = newLength;
  }

  private int[] acquire(int count) {
    if (count == 0) {
      return NO_SLOTS;
    }
    int[] slots = new int[count];
    int taken = 0;
    try {
      while (taken < count) {
        slots[taken] = cache.pool.acquire();
        taken++;
      }
      return slots;
    } finally {
      // The device may refuse memory below the pool's limit; then nothing may stay behind.
      if (taken < count) {
        while (taken > 0) {
          cache.pool.release(slots[--taken]);
        }
      }
    }
  }

  private PoolExhaustedException exhausted(String what, long neededPages) {
    String condition =
        warning != null ? " (" + cache.coldCondition() + ", so nothing can be frozen)" : "";
    return PoolExhaustedException.of(
        id + ": " + what + condition,
        neededPages * cache.pageBytes,
        (long) cache.pool.freePages() * cache.pageBytes,
        cache.poolBytes());
  }

  /** Where the pages are. */
  PageMemory memory() {
    return cache.memory;
  }

  /** The active pages of a layer by KV head, in order of position. */
  public HeadPages[] pages(int layer) {
    return pages[layer];
  }

  /** Before a forward pass: asks the kernel for attention mass where the policy wants it. */
  public void beginStep(StepKind kind) {
    requireOpen();
    boolean wantMass = cache.policy.wantsMass(kind);
    for (HeadTable table : tables) {
      table.pages.wantMass = wantMass;
    }
  }

  /** After a forward pass: backs up pages that filled, asks the policy, and moves pages. */
  public void endStep(StepKind kind) {
    requireOpen();
    if (!mayFreeze) {
      return;
    }
    backUpFilled();
    for (HeadTable table : tables) {
      moves.look(table);
      table.policy.step(kind, moves, moves);
      table.relist(pageTokens, length);
    }
  }

  private void backUpFilled() {
    int full = length / pageTokens;
    if (offered == full) {
      return;
    }
    for (HeadTable table : tables) {
      for (int page = offered; page < full; page++) {
        backUp(table, page);
      }
    }
    offered = full;
  }

  private boolean backUp(HeadTable table, int page) {
    if (table.handles[page] >= 0) {
      return true;
    }
    if (!cache.coldTakes()) {
      warn(cache.coldCondition());
      return false;
    }
    try {
      table.handles[page] = cache.backUp(table.slots[page]);
    } catch (ColdStoreFullException e) {
      warn(e.getMessage());
      return false;
    }
    backedUpTotal++;
    coldPages++;
    return true;
  }

  private void warn(String condition) {
    if (warning == null) {
      warning =
          id
              + ": pages stay on the device unfrozen: "
              + condition
              + "; give it more room with --set cache.coldBytes=BYTES or a larger disk";
    }
  }

  /** Why pages could not be frozen, the first time it happened, or null. */
  public String warning() {
    return warning;
  }

  /**
   * Drops tokens from the end. The page that becomes the partly filled tail is thawed.
   *
   * @throws PoolExhaustedException when there is no slot for that; nothing is changed then
   */
  public void truncate(int newLength) {
    requireOpen();
    if (newLength < 0 || newLength > length) {
      throw new IllegalArgumentException(
          id + ": cannot truncate " + length + " tokens to " + newLength);
    }
    int keep = (int) cache.pagesFor(newLength);
    int full = newLength / pageTokens;
    requireTailSlots(keep, full);
    for (HeadTable table : tables) {
      for (int page = keep; page < table.count; page++) {
        drop(table, page);
      }
      table.cut(keep);
    }
    for (HeadTable table : tables) {
      if (full < keep) {
        if (table.slots[full] < 0) {
          thaw(table, full);
        }
        forget(table, full);
        table.moved(full);
      }
      table.policy.truncate(full);
      table.relist(pageTokens, newLength);
    }
    length = newLength;
    offered = Math.min(offered, full);
  }

  private void requireTailSlots(int keep, int full) {
    long needed = 0;
    long freed = 0;
    for (HeadTable table : tables) {
      needed += full < keep && table.slots[full] < 0 ? 1 : 0;
      for (int page = keep; page < table.count; page++) {
        freed += table.slots[page] >= 0 ? 1 : 0;
      }
    }
    if (needed > freed + cache.pool.freePages()) {
      throw exhausted("thawing the last page", needed);
    }
  }

  private void drop(HeadTable table, int page) {
    if (table.slots[page] >= 0) {
      cache.pool.release(table.slots[page]);
      table.slots[page] = NONE;
    } else {
      frozenPages--;
    }
    forget(table, page);
  }

  private void forget(HeadTable table, int page) {
    if (table.handles[page] >= 0) {
      cache.forget(table.handles[page]);
      table.handles[page] = NONE;
      coldPages--;
    }
  }

  private void thaw(HeadTable table, int page) {
    int slot = cache.pool.acquire();
    try {
      cache.bringBack(table.handles[page], slot);
    } catch (RuntimeException e) {
      cache.pool.release(slot);
      throw e;
    }
    table.slots[page] = slot;
    table.moved(page);
    frozenPages--;
    thawedTotal++;
  }

  /** What the sequence occupies now. */
  public CacheUsage usage() {
    long activePages = (long) pageCount() * tables.length - frozenPages;
    double frozenTokens = (double) frozenPages * pageTokens / tables.length;
    return new CacheUsage(
        activePages,
        frozenPages,
        length - frozenTokens,
        frozenTokens,
        activePages * cache.pageBytes,
        coldPages * cache.pageBytes);
  }

  /** What the sequence has moved since it was opened. */
  public CacheTraffic traffic() {
    return new CacheTraffic(
        frozenTotal,
        thawedTotal,
        backedUpTotal * cache.pageBytes,
        thawedTotal * cache.pageBytes,
        deferredThaws);
  }

  private int pageCount() {
    return tables[0].count;
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException(id + ": the cache of this document is closed");
    }
  }

  /** Releases every page; safe to call twice. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    for (HeadTable table : tables) {
      // From the end, so that the cold store hands the places out again in ascending order.
      for (int page = table.count - 1; page >= 0; page--) {
        drop(table, page);
      }
      table.cut(0);
      table.relist(pageTokens, 0);
    }
    length = 0;
    offered = 0;
    closed = true;
    cache.closed(this);
  }

  /** The head that the policy looks at, and what it decides. */
  private final class Moves implements HeadView, PageMover {
    private HeadTable table;
    private int activeTokens;

    void look(HeadTable next) {
      table = next;
      int activePages = next.pages.count;
      activeTokens =
          activePages == 0
              ? 0
              : (activePages - 1) * pageTokens + next.pages.tokenCounts[activePages - 1];
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
      return length;
    }

    @Override
    public int activeTokens() {
      return activeTokens;
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
      boolean full = (page + 1L) * pageTokens <= length;
      if (!full || head.slots[page] < 0 || !backUp(head, page)) {
        return;
      }
      cache.pool.release(head.slots[page]);
      head.slots[page] = NONE;
      head.moved(page);
      frozenPages++;
      frozenTotal++;
    }

    @Override
    public void thaw(int page) {
      if (table.slots[page] >= 0) {
        return;
      }
      if (cache.pool.freePages() == 0) {
        deferredThaws++;
        return;
      }
      SequenceCache.this.thaw(table, page);
    }
  }
}
