package dev.kvfreeze.cache;

/** The cold store cannot take another page; the message says where, how much, and what to do. */
public final class ColdStoreFullException extends RuntimeException {
  public ColdStoreFullException(String message) {
    super(message);
  }

  public ColdStoreFullException(String message, Throwable cause) {
    super(message, cause);
  }
}
