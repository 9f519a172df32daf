package dev.kvfreeze.spark.input;

/** An input that cannot be read as a whole; the message names it and the remedy. */
public final class InputException extends RuntimeException {
  public InputException(String message) {
    super(message);
  }

  public InputException(String message, Throwable cause) {
    super(message, cause);
  }
}
