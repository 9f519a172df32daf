package dev.kvfreeze.model.chat;

import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.util.function.Function;

/** Cuts a document at its end so that the prompt around it fits, reading no more than it must. */
final class DocumentFitter {
  /** A first guess; the window doubles until it holds more tokens than the budget. */
  private static final int CHARACTERS_PER_TOKEN = 8;

  /** A cut may give up this part of the document for a paragraph's or sentence's end. */
  private static final double TIDY_SHARE = 0.05;

  private DocumentFitter() {}

  static FittedPrompt fit(
      Tokenizer tokenizer, Function<String, int[]> prompt, String document, int maxTokens) {
    int overhead = prompt.apply("").length;
    if (overhead >= maxTokens) {
      throw new IllegalArgumentException(
          "the prompt without the document has "
              + overhead
              + " tokens, "
              + maxTokens
              + " are allowed; raise the limit or shorten the instructions");
    }
    int budget = maxTokens - overhead;
    long window = (long) budget * CHARACTERS_PER_TOKEN + 1024;
    String read = head(document, window);
    int[] ids = tokenizer.encode(read, SpecialTokens.AS_TEXT);
    while (ids.length <= budget && read.length() < document.length()) {
      window *= 2;
      read = head(document, window);
      ids = tokenizer.encode(read, SpecialTokens.AS_TEXT);
    }
    if (read.length() == document.length() && ids.length <= budget + 8) {
      int[] whole = prompt.apply(document); // Tokens may merge over the seams: only this is exact.
      if (whole.length <= maxTokens) {
        return new FittedPrompt(whole, document.length(), ids.length, 0, false);
      }
    }
    int keep = Math.min(budget, ids.length - 1);
    while (true) {
      String kept = tidy(read.substring(0, characters(tokenizer, ids, keep, read)));
      int[] fitted = prompt.apply(kept);
      if (fitted.length <= maxTokens || keep == 0) {
        return result(tokenizer, fitted, kept, read, document, ids.length);
      }
      keep = Math.max(0, keep - (fitted.length - maxTokens));
    }
  }

  private static FittedPrompt result(
      Tokenizer tokenizer,
      int[] fitted,
      String kept,
      String read,
      String document,
      int readTokens) {
    int keptTokens = tokenizer.encode(kept, SpecialTokens.AS_TEXT).length;
    boolean estimated = read.length() < document.length();
    long unread =
        Math.round((double) (document.length() - read.length()) * readTokens / read.length());
    long dropped = Math.max(1, readTokens - keptTokens + unread);
    return new FittedPrompt(fitted, kept.length(), keptTokens, dropped, estimated);
  }

  /** The beginning of a text, never ending within a surrogate pair. */
  private static String head(String text, long characters) {
    if (characters >= text.length()) {
      return text;
    }
    int end = (int) characters;
    return text.substring(0, Character.isHighSurrogate(text.charAt(end - 1)) ? end - 1 : end);
  }

  /** Whole characters of the text that the first tokens cover. */
  private static int characters(Tokenizer tokenizer, int[] ids, int count, String text) {
    long bytes = 0;
    for (int i = 0; i < count; i++) {
      bytes += tokenizer.bytes(ids[i]).length;
    }
    int at = 0;
    while (at < text.length()) {
      int code = text.codePointAt(at);
      bytes -= code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      if (bytes < 0) {
        break;
      }
      at += Character.charCount(code);
    }
    return at;
  }

  /** Ends at a paragraph, else at a sentence, where one ends near the end. */
  private static String tidy(String text) {
    int least = (int) Math.ceil(text.length() * (1 - TIDY_SHARE));
    int paragraph = text.lastIndexOf("\n\n");
    if (paragraph >= least && paragraph > 0) {
      return text.substring(0, paragraph);
    }
    for (int end = text.length(); end > Math.max(least, 1); end--) {
      char last = text.charAt(end - 1);
      boolean wide = last == '\u3002' || last == '\uff01' || last == '\uff1f';
      boolean narrow =
          (last == '.' || last == '!' || last == '?')
              && end < text.length()
              && Character.isWhitespace(text.charAt(end));
      if (wide || narrow) {
        return text.substring(0, end);
      }
    }
    return text;
  }
}
