package dev.kvfreeze.spark.output;

/** An output folder that cannot be used; the message names it and the remedy. */
public final class OutputException extends RuntimeException {
  public OutputException(String message) {
    super(message);
  }

  public OutputException(String message, Throwable cause) {
    super(message, cause);
  }
}
