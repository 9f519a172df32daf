package dev.kvfreeze.model.tokenizer;

/** A stretch of a text and how special tokens written out in it are read. */
public record TextPart(String text, Tokenizer.SpecialTokens specialTokens) {
  /** Text written by the template's author or the user: special tokens are meant. */
  public static TextPart trusted(String text) {
    return new TextPart(text, Tokenizer.SpecialTokens.PARSE);
  }

  /** Text of a document: look-alikes of special tokens stay text. */
  public static TextPart document(String text) {
    return new TextPart(text, Tokenizer.SpecialTokens.AS_TEXT);
  }
}
