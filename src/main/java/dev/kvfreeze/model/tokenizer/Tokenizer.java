package dev.kvfreeze.model.tokenizer;

import java.util.List;
import java.util.stream.IntStream;

/** Text to token ids and back; safe for use by several threads. */
public interface Tokenizer extends AutoCloseable {
  /** How special tokens written out in a text are read. */
  enum SpecialTokens {
    /** As the special tokens: for templates and prompts given verbatim. */
    PARSE,
    /** As plain text: for what comes from a document. */
    AS_TEXT
  }

  /** Token ids of a text, without any that the model adds at the beginning or the end. */
  int[] encode(String text, SpecialTokens specialTokens);

  /**
   * Token ids of the parts as one text: tokens may reach over the seams, except that a special
   * token counts only where it lies in parts that are parsed. (An implementation that cannot do
   * this encodes each part alone.)
   */
  default int[] encode(List<TextPart> parts) {
    return parts.stream()
        .flatMapToInt(part -> IntStream.of(encode(part.text(), part.specialTokens())))
        .toArray();
  }

  /** Text of the ids; special tokens are left out, bytes that form no character become U+FFFD. */
  String decode(int[] ids);

  /** The bytes one token stands for (the tokens of one character may each hold a part of it). */
  byte[] bytes(int id);

  int vocabularySize();

  /** Whether the id is a special or control token, which does not appear in text. */
  boolean special(int id);

  /** The token that begins a sequence, or -1. */
  int beginToken();

  /** Whether the model file asks for {@link #beginToken} before every prompt. */
  boolean addsBeginToken();

  /** Tokens that end a generation. */
  int[] endTokens();

  @Override
  void close();
}
