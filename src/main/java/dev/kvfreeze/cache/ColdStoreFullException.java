package dev.kvfreeze.cache;

/** The cold store cannot take another page; the message says where, how much, and what to do. */
public final class ColdStoreFullException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public ColdStoreFullException(String message) {
    super(message);
  }

  public ColdStoreFullException(String message, Throwable cause) {
    super(message, cause);
  }

  static ColdStoreFullException limit(String where, long neededBytes, long bytes, long limitBytes) {
    return new ColdStoreFullException(
        "cold store in "
            + where
            + ": a page needs "
            + neededBytes
            + " bytes, "
            + bytes
            + " of "
            + limitBytes
            + " bytes are in use; raise it with --set cache.coldBytes=BYTES");
  }
}
