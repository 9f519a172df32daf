package dev.kvfreeze.cache;

/** A sequence's copies in the cold store: full pages are written there before they are frozen. */
final class PageBackups {
  private final String id;
  private final KvCache cache;
  private final PageCounts counts;

  /** Logical pages below this were offered to the cold store when they filled. */
  private int offered;

  private String warning;

  PageBackups(String id, KvCache cache, PageCounts counts) {
    this.id = id;
    this.cache = cache;
    this.counts = counts;
  }

  /** Copies the pages of all heads that have filled since the last time. */
  void backUpFilled(HeadTable[] tables, int full) {
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

  /** Copies a page unless that was done before; whether it may be frozen now. */
  boolean backUp(HeadTable table, int page) {
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
    counts.backedUpTotal++;
    counts.cold++;
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
  String warning() {
    return warning;
  }

  /** Pages below {@code full} were offered in passing; says how many of them are new. */
  int passed(int full) {
    int fresh = Math.max(0, full - offered);
    offered = full;
    return fresh;
  }

  /** Pages from {@code full} on are no longer there. */
  void cut(int full) {
    offered = Math.min(offered, full);
  }
}
