package dev.kvfreeze.cache;

/**
 * The page pool has no room; the message says how much is needed, how much there is, what to do.
 */
public final class PoolExhaustedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public PoolExhaustedException(String message) {
    super(message);
  }

  static PoolExhaustedException of(String what, long neededBytes, long freeBytes, long poolBytes) {
    return new PoolExhaustedException(
        what
            + " needs "
            + neededBytes
            + " bytes of KV pages, the pool of "
            + poolBytes
            + " bytes has "
            + freeBytes
            + " free; give it more with --set cache.poolBytes=BYTES, or decode fewer documents at"
            + " once");
  }
}
