package dev.kvfreeze.spark.job;

/** A prompt that cannot be made for a document; the message names the remedy. */
final class PromptException extends RuntimeException {
  private static final long serialVersionUID = 1;

  PromptException(String message) {
    super(message);
  }
}
