package dev.kvfreeze.model.chat;

/** A chat template that cannot be rendered; the message says why and what to do. */
public final class ChatTemplateException extends RuntimeException {
  public ChatTemplateException(String message, Throwable cause) {
    super(message, cause);
  }
}
