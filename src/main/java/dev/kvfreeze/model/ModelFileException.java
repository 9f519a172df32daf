package dev.kvfreeze.model;

/** A model file that cannot be used; the message names the file, what is wrong and the remedy. */
public final class ModelFileException extends RuntimeException {
  public ModelFileException(String message) {
    super(message);
  }

  public ModelFileException(String message, Throwable cause) {
    super(message, cause);
  }
}
