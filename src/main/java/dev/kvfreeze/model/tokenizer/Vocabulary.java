package dev.kvfreeze.model.tokenizer;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.gguf.GgufMetadata;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** The tokens of a model file: texts as stored (UTF-8), kinds and scores, found by text. */
final class Vocabulary {
  static final String TOKENS = "tokenizer.ggml.tokens";
  static final String TYPES = "tokenizer.ggml.token_type";
  static final String SCORES = "tokenizer.ggml.scores";

  /** Far above every published vocabulary; keeps a hostile file from taking the heap. */
  private static final int MAX_TOKENS = 4_000_000;

  private static final int MAX_TOKEN_BYTES = 1 << 16;

  private final byte[][] texts;
  private final TokenKind[] kinds;
  private final float[] scores;
  private final int[] slots;

  private Vocabulary(byte[][] texts, TokenKind[] kinds, float[] scores, int[] slots) {
    this.texts = texts;
    this.kinds = kinds;
    this.scores = scores;
    this.slots = slots;
  }

  /**
   * Reads and checks a file's vocabulary.
   *
   * @throws ModelFileException naming the key and the remedy
   */
  static Vocabulary read(GgufMetadata metadata) {
    byte[][] texts = metadata.byteStrings(TOKENS);
    if (texts.length == 0 || texts.length > MAX_TOKENS) {
      throw damaged(
          metadata,
          TOKENS + " has " + texts.length + " tokens, 1 to " + MAX_TOKENS + " are possible");
    }
    TokenKind[] kinds = new TokenKind[texts.length];
    Arrays.fill(kinds, TokenKind.NORMAL);
    if (metadata.contains(TYPES)) {
      long[] types = metadata.integers(TYPES);
      requireSameLength(metadata, TYPES, types.length, texts.length);
      for (int id = 0; id < types.length; id++) {
        kinds[id] = TokenKind.of(types[id]);
        if (kinds[id] == null) {
          throw damaged(
              metadata, TYPES + " of token " + id + " is " + types[id] + ", 1 to 6 are known");
        }
      }
    }
    float[] scores = metadata.contains(SCORES) ? metadata.floats(SCORES) : new float[texts.length];
    requireSameLength(metadata, SCORES, scores.length, texts.length);
    for (int id = 0; id < scores.length; id++) {
      if (Float.isNaN(scores[id])) {
        throw damaged(metadata, SCORES + " of token " + id + " is not a number");
      }
    }
    return new Vocabulary(texts, kinds, scores, index(metadata, texts));
  }

  private static int[] index(GgufMetadata metadata, byte[][] texts) {
    int[] slots = new int[Integer.highestOneBit(texts.length) << 2];
    Arrays.fill(slots, -1);
    int mask = slots.length - 1;
    for (int id = 0; id < texts.length; id++) {
      byte[] text = texts[id];
      if (text.length > MAX_TOKEN_BYTES) {
        throw damaged(
            metadata,
            TOKENS
                + ": token "
                + id
                + " has "
                + text.length
                + " bytes, at most "
                + MAX_TOKEN_BYTES
                + " are possible");
      }
      if (text.length == 0) {
        continue; // Some files fill gaps with empty tokens; no text leads to them.
      }
      int slot = hash(text, 0, text.length) & mask;
      while (slots[slot] >= 0) {
        if (Arrays.equals(texts[slots[slot]], text)) {
          throw damaged(
              metadata,
              TOKENS
                  + ": tokens "
                  + slots[slot]
                  + " and "
                  + id
                  + " are the same, '"
                  + shown(text)
                  + "'");
        }
        slot = (slot + 1) & mask;
      }
      slots[slot] = id;
    }
    return slots;
  }

  private static void requireSameLength(GgufMetadata metadata, String key, int found, int tokens) {
    if (found != tokens) {
      throw damaged(metadata, key + " has " + found + " entries for " + tokens + " tokens");
    }
  }

  /** A failure of the file, with the remedy. */
  static ModelFileException damaged(GgufMetadata metadata, String what) {
    return new ModelFileException(
        metadata.file() + ": " + what + "; the file is damaged, download it again");
  }

  /** A token's text for a message. */
  static String shown(byte[] text) {
    String shown = new String(text, StandardCharsets.UTF_8);
    return shown.length() > 60 ? shown.substring(0, 60) + "..." : shown;
  }

  private static int hash(byte[] bytes, int from, int to) {
    int hash = 0x811C9DC5;
    for (int i = from; i < to; i++) {
      hash = (hash ^ bytes[i]) * 0x01000193;
    }
    return hash ^ (hash >>> 15);
  }

  /** The token whose text is {@code bytes[from, to)}, or -1. */
  int find(byte[] bytes, int from, int to) {
    int mask = slots.length - 1;
    int slot = hash(bytes, from, to) & mask;
    while (slots[slot] >= 0) {
      byte[] text = texts[slots[slot]];
      if (Arrays.equals(text, 0, text.length, bytes, from, to)) {
        return slots[slot];
      }
      slot = (slot + 1) & mask;
    }
    return -1;
  }

  int find(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return find(bytes, 0, bytes.length);
  }

  int size() {
    return texts.length;
  }

  /** The text as the file stores it; not to be changed. */
  byte[] text(int id) {
    return texts[id];
  }

  TokenKind kind(int id) {
    return kinds[id];
  }

  float score(int id) {
    return scores[id];
  }

  /** Makes a token special that the file forgot to mark; only while the tokenizer is built. */
  void markControl(int id) {
    kinds[id] = TokenKind.CONTROL;
  }
}
