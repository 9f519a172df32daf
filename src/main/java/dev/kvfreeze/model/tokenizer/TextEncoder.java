package dev.kvfreeze.model.tokenizer;

/** One kind of vocabulary: how plain text becomes tokens and tokens become bytes. */
interface TextEncoder {
  /** Work space of one encode call. */
  interface Session {
    /** Appends the tokens of a stretch of well-formed text without special tokens. */
    void encode(String text, int from, int to, IntList ids);
  }

  Session session();

  /** The bytes of a token that is neither special nor user-defined. */
  byte[] bytes(int id);

  /** Whether a space is put before a stretch that begins a text or follows a special token. */
  boolean addsSpacePrefix();
}
