package dev.kvfreeze.cache;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.freeze.CapShare;
import dev.kvfreeze.freeze.RecoveryLevel;
import dev.kvfreeze.freeze.SequencePolicy;
import dev.kvfreeze.freeze.StepKind;
import java.util.List;

/**
 * The KV cache of one document: a page table by layer and KV head. A step is {@link #extend},
 * {@link #beginStep}, the forward pass over {@link #pages}, {@link #endStep}. Engine thread only.
 */
public final class SequenceCache implements AutoCloseable {
  private static final int NONE = HeadTable.NONE;

  private final KvCache cache;
  private final String id;
  private final int promptTokens;
  private final CapShare share;
  private final int pageTokens;
  final HeadTable[] tables;
  private final HeadPages[][] pages;
  final HeadMoves moves;
  private final boolean mayFreeze;
  final SequencePolicy policy;
  final PassingPages passing;
  private final PageChoices choices;
  int length;
  final PageCounts counts;
  final PageBackups backups;
  private boolean asleep = true;
  private boolean closed;

  SequenceCache(KvCache cache, String id, CapShare share, int promptTokens) {
    this.cache = cache;
    this.id = id;
    this.promptTokens = promptTokens;
    this.share = share;
    this.pageTokens = cache.pageTokens;
    this.mayFreeze = cache.policy.mayFreeze();
    this.moves = new HeadMoves(this, cache);
    this.policy = cache.policy.sharing(share).sequence(cache.shape);
    this.tables = new HeadTable[cache.layers * cache.kvHeads];
    this.counts = new PageCounts(tables.length, pageTokens, cache.pageBytes);
    this.backups = new PageBackups(id, cache, counts);
    this.pages = new HeadPages[cache.layers][cache.kvHeads];
    for (int i = 0; i < tables.length; i++) {
      int layer = i / cache.kvHeads;
      int head = i % cache.kvHeads;
      tables[i] = new HeadTable(layer, cache.newSketches(layer, head), cache.newBoxes());
      pages[layer][head] = tables[i].pages;
    }
    this.passing = new PassingPages(this, cache, tables);
    this.choices = new PageChoices(this, cache, tables);
  }

  /** Tokens in the sequence, those of the present forward pass included. */
  public int length() {
    return length;
  }

  /**
   * Makes room for more tokens at the end in every layer and head, or changes nothing. When the
   * policy reads a long prompt with passing pages, the room is one layer's, and {@link #openLayer}
   * takes it.
   *
   * @throws PoolExhaustedException when the pool has too few free pages
   */
  public void extend(int tokens, StepKind kind) {
    requireOpen();
    if (tokens < 0) {
      throw new IllegalArgumentException(id + ": cannot extend by " + tokens + " tokens");
    }
    int newLength = Math.addExact(length, tokens);
    int oldPages = pageCount();
    int newPages = (int) cache.pagesFor(newLength) - oldPages;
    int expected = Math.max(newLength, promptTokens);
    asleep = asleep && policy.sleeps(expected);
    if (!asleep) {
      passing.reserveSketches(newLength / pageTokens);
    }
    if (kind != StepKind.DECODE && policy.streams(expected)) {
      passing.extend(newLength, newPages);
      return;
    }
    passing.requireEnded(id);
    long needed = (long) newPages * tables.length;
    if (needed > cache.pool.freePages()) {
      throw exhausted(tokens + " tokens", needed);
    }
    int[] slots = cache.pool.acquire((int) needed);
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

  /** The same for a decode step. */
  public void extend(int tokens) {
    extend(tokens, StepKind.DECODE);
  }

  PoolExhaustedException exhausted(String what, long neededPages) {
    String condition =
        warning() != null ? " (" + cache.coldCondition() + ", so nothing can be frozen)" : "";
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

  /**
   * Before the attention of a layer: while a prompt passes through, brings in the layer's cold
   * pages that hold tokens at or after {@code firstVisible}.
   */
  public void openLayer(int layer, int firstVisible) {
    if (passing.active) {
      passing.open(layer, firstVisible);
    }
  }

  /**
   * While an earlier layer is computed: begins to bring in the cold pages that {@link #openLayer}
   * of this one will want, where they move beside the computing and there is room for them.
   */
  public void prefetchLayer(int layer, int firstVisible) {
    if (passing.active) {
      passing.prefetch(layer, firstVisible);
    }
  }

  /** The pages of a layer that have filled and are not sketched yet, for the device to sketch. */
  public void collectUnsketched(int layer, List<SketchedPage> into) {
    if (asleep) {
      return;
    }
    int before = into.size();
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      tables[i].collectUnsketched(length / pageTokens, pageTokens, into);
    }
    if (into.size() > before) {
      passing.summariesChanged();
    }
  }

  /** After the attention of a layer: while a prompt passes through, its pages leave again. */
  public void closeLayer(int layer, StepKind kind) {
    choices.boxFilled(layer);
    if (passing.active) {
      passing.close(layer, kind);
    }
  }

  /** Whether closing a layer looks at its attention mass: it must be there by then. */
  public boolean observesLayers(StepKind kind) {
    return passing.observes(kind);
  }

  /** Whether the sketches of a layer shall be scored in this step. */
  public boolean wantsEstimates(int layer, StepKind kind) {
    return counts.frozen > 0
        && !passing.active
        && tables[layer * cache.kvHeads].sketches != null
        && policy.wantsEstimates(layer, kind);
  }

  /** Where a policy chooses the pages of every decode step itself: see {@link PageChoices}. */
  public PageChoices choices() {
    return choices;
  }

  /** The sketches of a layer by KV head, with the pages to score that the policy asks for. */
  public KeySketches[] sketches(int layer, StepKind kind) {
    KeySketches[] sketches = new KeySketches[cache.kvHeads];
    for (int i = 0; i < sketches.length; i++) {
      int head = layer * cache.kvHeads + i;
      sketches[i] = tables[head].sketches;
      moves.look(tables[head]);
      policy.ask(head, kind, moves, moves);
    }
    return sketches;
  }

  /** Once the sketches of a layer have been scored: thaws what the policy wants back. */
  public void recall(int layer) {
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      moves.look(tables[i]);
      policy.recall(i, moves, moves);
      tables[i].relist(pageTokens, length);
    }
  }

  /** Before a forward pass: asks the kernel for attention mass where the policy wants it. */
  public void beginStep(StepKind kind) {
    requireOpen();
    boolean wantMass = !asleep && cache.policy.wantsMass(kind);
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
    // Passes make sketches, policies do not.
    long summaryBytes = passing.summaryBytes();
    counts.notePeak(pageCount(), summaryBytes);
    if (asleep) {
      return;
    }
    if (passing.active) {
      passing.end();
    } else {
      backups.backUpFilled(tables, length / pageTokens);
      if (cache.policy.wantsMass(kind)) {
        for (int i = 0; i < tables.length; i++) {
          moves.look(tables[i]);
          policy.observe(i, kind, moves);
        }
      }
    }
    moves.look(tables[0]);
    policy.balance(kind, moves);
    for (int i = 0; i < tables.length; i++) {
      moves.look(tables[i]);
      policy.step(i, kind, moves, moves);
      tables[i].relist(pageTokens, length);
    }
    cache.memory.sendMoves();
    counts.notePeak(pageCount(), summaryBytes);
  }

  /**
   * Between two steps, when the pool is short: the next step freezes deeper. False when the policy
   * has no cap, or too little is left of it.
   */
  public boolean tightenCap() {
    return cache.policy.tightens() && share.tighten();
  }

  /** Between two steps, when the pool has room again. */
  public void relaxCap() {
    share.relax();
  }

  /** Between two steps: brings back what a recovery of this level asks for. */
  public void recover(RecoveryLevel level) {
    requireOpen();
    for (int i = 0; i < tables.length; i++) {
      moves.look(tables[i]);
      policy.recover(i, level, moves, moves);
      tables[i].relist(pageTokens, length);
    }
  }

  /** The least share of the policy's cap that it was held to for want of pages; 1 for all of it. */
  public double leastCapShare() {
    return share.least();
  }

  /** Why pages could not be frozen, the first time it happened, or null. */
  public String warning() {
    return backups.warning();
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
    choices.includeAll();
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
        table.movedFrom(full);
      }
      table.cutSummaries(full);
      table.relist(pageTokens, newLength);
    }
    passing.summariesChanged();
    policy.truncate(full);
    length = newLength;
    backups.cut(full);
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
      counts.frozen--;
    }
    forget(table, page);
  }

  private void forget(HeadTable table, int page) {
    if (table.handles[page] >= 0) {
      cache.forget(table.handles[page]);
      table.handles[page] = NONE;
      counts.cold--;
    }
  }

  void thaw(HeadTable table, int page) {
    int slot = cache.pool.acquire();
    try {
      cache.bringBack(table.handles[page], slot);
    } catch (RuntimeException e) {
      cache.pool.release(slot);
      throw e;
    }
    table.slots[page] = slot;
    table.moved(page);
    counts.frozen--;
    counts.thawedTotal++;
  }

  /** What the sequence occupies now. */
  public CacheUsage usage() {
    return counts.usage(pageCount(), length, passing.summaryBytes());
  }

  /** What the sequence has moved since it was opened. */
  public CacheTraffic traffic() {
    return counts.traffic();
  }

  int pageCount() {
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
      table.clear(cache.memory);
    }
    passing.summariesChanged();
    length = 0;
    backups.cut(0);
    counts.excluded = 0;
    closed = true;
    cache.closed(this);
  }
}
