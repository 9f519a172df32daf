package dev.kvfreeze.model.tokenizer;

/** The kinds of {@code tokenizer.ggml.token_type}, in the order of their numbers from 1. */
enum TokenKind {
  NORMAL,
  UNKNOWN,
  CONTROL,
  USER_DEFINED,
  UNUSED,
  BYTE;

  private static final TokenKind[] KINDS = values();

  /** The kind of a number in the file, or null. */
  static TokenKind of(long number) {
    return number >= 1 && number <= KINDS.length ? KINDS[(int) number - 1] : null;
  }

  /** Whether tokens of this kind never appear in text. */
  boolean special() {
    return this == UNKNOWN || this == CONTROL;
  }
}
