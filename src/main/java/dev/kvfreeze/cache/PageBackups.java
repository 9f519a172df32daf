package dev.kvfreeze.cache;

/**
 * The copies of one sequence's pages in the cold store, each made once, when its page fills. Engine
 * thread only.
 */
final class PageBackups {
  private static final int NONE = HeadTable.NONE;

  private final String id;
  private final KvCache cache;
  private long copies;
  private long made;
  private String warning;

  /**
   * @param id of the document, for messages
   */
  PageBackups(String id, KvCache cache) {
    this.id = id;
    this.cache = cache;
  }

  /** Makes sure of a page's copy; false when the cold store has no room. */
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
    made++;
    copies++;
    return true;
  }

  void forget(HeadTable table, int page) {
    if (table.handles[page] >= 0) {
      cache.forget(table.handles[page]);
      table.handles[page] = NONE;
      copies--;
    }
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

  /** Bytes of the copies there are. */
  long bytes() {
    return copies * cache.pageBytes;
  }

  /** Bytes of the copies made since the sequence was opened. */
  long bytesMade() {
    return made * cache.pageBytes;
  }
}
