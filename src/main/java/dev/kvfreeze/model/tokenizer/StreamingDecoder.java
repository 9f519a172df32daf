package dev.kvfreeze.model.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Joins the bytes of tokens into text as they are generated: a character appears once its last byte
 * is there. The texts of all calls together equal {@link Tokenizer#decode} of all ids. For one
 * sequence and one thread.
 */
public final class StreamingDecoder {
  private final Tokenizer tokenizer;
  private byte[] pending = new byte[0];

  public StreamingDecoder(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /** Adds a token; returns the text that is now complete, which may be empty. */
  public String append(int id) {
    byte[] bytes = tokenizer.bytes(id);
    if (bytes.length == 0 || tokenizer.special(id)) {
      return "";
    }
    byte[] joined = Arrays.copyOf(pending, pending.length + bytes.length);
    System.arraycopy(bytes, 0, joined, pending.length, bytes.length);
    int complete = joined.length - unfinished(joined);
    pending = Arrays.copyOfRange(joined, complete, joined.length);
    return new String(joined, 0, complete, StandardCharsets.UTF_8);
  }

  /** What is left at the end: U+FFFD where a character stayed unfinished, otherwise empty. */
  public String flush() {
    String rest = new String(pending, StandardCharsets.UTF_8);
    pending = new byte[0];
    return rest;
  }

  /** Bytes at the end that begin a character whose rest may still come: 0 to 3. */
  private static int unfinished(byte[] bytes) {
    for (int back = 1; back <= Math.min(3, bytes.length); back++) {
      int b = bytes[bytes.length - back] & 0xFF;
      if (b >= 0x80 && b < 0xC0) {
        continue;
      }
      int length =
          b >= 0xC2 && b < 0xE0 ? 2 : b >= 0xE0 && b < 0xF0 ? 3 : b >= 0xF0 && b < 0xF5 ? 4 : 1;
      boolean possible = length > back && (back == 1 || secondPossible(b, bytes, back));
      return possible ? back : 0;
    }
    return 0;
  }

  /** Some lead bytes allow only part of the second bytes (no surrogates, nothing too long). */
  private static boolean secondPossible(int lead, byte[] bytes, int back) {
    int second = bytes[bytes.length - back + 1] & 0xFF;
    return switch (lead) {
      case 0xE0 -> second >= 0xA0;
      case 0xED -> second < 0xA0;
      case 0xF0 -> second >= 0x90;
      case 0xF4 -> second < 0x90;
      default -> true;
    };
  }
}
