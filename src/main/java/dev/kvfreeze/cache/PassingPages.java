package dev.kvfreeze.cache;

import dev.kvfreeze.freeze.StepKind;
import java.util.Arrays;

/**
 * Exact reading of a prompt that does not fit: when a chunk reaches a layer, the layer's cold pages
 * come in, have part in its attention, and leave again. Resident are the sketches, one layer (where
 * pages move beside the computing and there is room, the next one too), and the last page of each
 * head where it is not full.
 */
final class PassingPages {
  private final SequenceCache owner;
  private final KvCache cache;
  private final HeadTable[] tables;
  private final int pageTokens;
  boolean active;

  /** Handles of the cold pages that are brought in together. */
  private long[] coming = {};

  /** Full pages of each head for whose sketches there is room. */
  private int reserved;

  private long summaryBytes;
  private boolean summariesChanged = true;

  PassingPages(SequenceCache owner, KvCache cache, HeadTable[] tables) {
    this.owner = owner;
    this.cache = cache;
    this.tables = tables;
    this.pageTokens = cache.pageTokens;
  }

  /** Adds pages without slots. The pool must hold a whole layer and the heads' last pages. */
  void extend(int newLength, int newPages) {
    long needed = cache.pagesFor(newLength) * cache.kvHeads + tables.length;
    if (needed > cache.pool.freePages()) {
      throw owner.exhausted("passing a layer's pages", needed);
    }
    active = true;
    for (HeadTable table : tables) {
      for (int page = 0; page < newPages; page++) {
        table.appendUnwritten();
      }
      table.movedFrom(owner.length / pageTokens);
    }
    owner.counts.frozen += (long) newPages * tables.length;
    owner.length = newLength;
  }

  /** On a device where sketches and pages share memory, full pages may find none for theirs. */
  void reserveSketches(int full) {
    if (full == reserved) {
      return;
    }
    summariesChanged();
    for (HeadTable table : tables) {
      if (!table.reserveSketches(full, pageTokens)) {
        throw owner.exhausted("the sketches of " + full + " pages a head", 1);
      }
    }
    reserved = full;
  }

  boolean observes(StepKind kind) {
    return active && cache.policy.wantsMass(kind);
  }

  void requireEnded(String id) {
    if (active) {
      throw new IllegalStateException(id + ": the last forward pass has not ended");
    }
  }

  void open(int layer, int firstVisible) {
    bringInCold(layer, firstVisible / pageTokens);
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      HeadTable table = tables[i];
      for (int page = firstVisible / pageTokens; page < table.count; page++) {
        if (table.slots[page] < 0) {
          arrived(table, page, cache.pool.acquire());
        }
      }
      table.relist(pageTokens, owner.length);
    }
    owner.counts.notePeak(owner.pageCount(), summaryBytes());
  }

  /** All cold pages of the layer together, so that the device can use all its threads. */
  private void bringInCold(int layer, int firstPage) {
    int count = 0;
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      HeadTable table = tables[i];
      ensureRoom(count + table.count);
      for (int page = firstPage; page < table.count; page++) {
        if (table.slots[page] < 0 && table.handles[page] >= 0) {
          coming[count++] = table.handles[page];
        }
      }
    }
    if (count == 0) {
      return;
    }
    int[] slots = cache.pool.acquire(count);
    try {
      cache.bringBack(count, coming, slots);
    } catch (RuntimeException e) {
      for (int slot : slots) {
        cache.pool.release(slot);
      }
      throw e;
    }
    int next = 0;
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      HeadTable table = tables[i];
      for (int page = firstPage; page < table.count; page++) {
        if (table.slots[page] < 0 && table.handles[page] >= 0) {
          arrived(table, page, slots[next++]);
        }
      }
    }
    owner.counts.passedTotal += count;
  }

  private void ensureRoom(int count) {
    if (count > coming.length) {
      coming = Arrays.copyOf(coming, Math.max(count, 2 * coming.length));
    }
  }

  /**
   * The second layer's worth of pages is room that is free anyway until the pass ends: what does
   * not fit comes in when the layer is opened.
   */
  void prefetch(int layer, int firstVisible) {
    if (!cache.movesBesideComputing()) {
      return;
    }
    // What was asked for before is a batch of its own: the present layer waits for nothing else.
    cache.memory.sendMoves();
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      HeadTable table = tables[i];
      for (int page = firstVisible / pageTokens; page < table.count; page++) {
        if (table.slots[page] >= 0 || table.handles[page] < 0) {
          continue;
        }
        int slot = cache.pool.acquireSpare();
        if (slot < 0) {
          endPrefetch();
          return;
        }
        bringIn(table, page, slot);
      }
    }
    endPrefetch();
  }

  private void endPrefetch() {
    cache.memory.sendMoves();
    owner.counts.notePeak(owner.pageCount(), summaryBytes());
  }

  private void bringIn(HeadTable table, int page, int slot) {
    try {
      cache.bringBack(table.handles[page], slot);
    } catch (RuntimeException e) {
      cache.pool.release(slot);
      throw e;
    }
    owner.counts.passedTotal++;
    arrived(table, page, slot);
  }

  private void arrived(HeadTable table, int page, int slot) {
    table.slots[page] = slot;
    table.moved(page);
    owner.counts.frozen--;
  }

  void close(int layer, StepKind kind) {
    int full = owner.length / pageTokens;
    boolean observed = cache.policy.wantsMass(kind);
    for (int i = layer * cache.kvHeads; i < (layer + 1) * cache.kvHeads; i++) {
      HeadTable table = tables[i];
      if (observed) {
        owner.moves.look(table);
        owner.policy.observe(i, kind, owner.moves);
      }
      int findable = table.findable(full);
      for (int page = 0; page < findable; page++) {
        if (table.slots[page] >= 0 && owner.backups.backUp(table, page)) {
          cache.pool.release(table.slots[page]);
          table.slots[page] = HeadTable.NONE;
          table.moved(page);
          owner.counts.frozen++;
        }
      }
      table.relist(pageTokens, owner.length);
    }
  }

  /** Pages that never were active for a step of output count as frozen once. */
  void end() {
    active = false;
    int full = owner.length / pageTokens;
    owner.counts.frozenTotal += (long) owner.backups.passed(full) * tables.length;
  }

  /** Bytes of what stays of frozen pages. */
  long summaryBytes() {
    if (summariesChanged) {
      summaryBytes = 0;
      for (HeadTable table : tables) {
        summaryBytes += table.summaryBytes();
      }
      summariesChanged = false;
    }
    return summaryBytes;
  }

  /** Says that sketches or boxes were made or dropped, or got room. */
  void summariesChanged() {
    summariesChanged = true;
  }
}
