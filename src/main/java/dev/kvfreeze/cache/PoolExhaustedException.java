package dev.kvfreeze.cache;

/** The page pool has no room; the message says how much is needed, how much there is, what to do. */
public final class PoolExhaustedException extends RuntimeException {
  public PoolExhaustedException(String message) {
    super(message);
  }
}
