package dev.kvfreeze.spark.plugin;

/** The executor has no engine; the message says why, so that a failed task can be understood. */
public final class EngineUnavailableException extends RuntimeException {
  public EngineUnavailableException(String message, Throwable cause) {
    super(message, cause);
  }
}
