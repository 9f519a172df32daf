package dev.kvfreeze.model.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * SentencePiece-style BPE (Kudo and Richardson, arXiv 1808.06226) as Llama 2 and Gemma have it: the
 * pair whose joined text is the token of the highest score merges first; characters without a token
 * fall back to byte tokens.
 *
 * <p>There is no pre-tokenizer, so one heap over a whole document would be needed. A merge can
 * never join two characters that stand side by side in no token, though, so the text is cut there,
 * which changes no id and keeps segments to a word or so.
 */
final class SentencePieceEncoder implements TextEncoder {
  private static final byte[] SPACE_MARK = "\u2581".getBytes(StandardCharsets.UTF_8);

  private final Vocabulary vocabulary;
  private final boolean addSpacePrefix;
  private final int unknown;
  private final int[] tokenOfByte = new int[256];
  private final LongIntMap neighbours;

  SentencePieceEncoder(Vocabulary vocabulary, boolean addSpacePrefix, int unknown) {
    this.vocabulary = vocabulary;
    this.addSpacePrefix = addSpacePrefix;
    this.unknown = unknown;
    for (int b = 0; b < 256; b++) {
      tokenOfByte[b] = vocabulary.find(String.format("<0x%02X>", b));
      if (tokenOfByte[b] < 0) {
        tokenOfByte[b] = vocabulary.find(new byte[] {(byte) b}, 0, 1);
      }
    }
    neighbours = new LongIntMap(vocabulary.size() / 2);
    for (int id = 0; id < vocabulary.size(); id++) {
      if (mergeable(id)) {
        addNeighbours(vocabulary.text(id));
      }
    }
  }

  /** Tokens that text may become; others only stand for what the file's author wrote out. */
  private boolean mergeable(int id) {
    TokenKind kind = vocabulary.kind(id);
    return !kind.special() && kind != TokenKind.BYTE;
  }

  private void addNeighbours(byte[] text) {
    int at = 0;
    int previous = -1;
    while (at < text.length) {
      int end = characterEnd(text, at);
      int character = packed(text, at, end);
      if (at > 0) {
        neighbours.putIfAbsent(pair(previous, character), 0);
      }
      previous = character;
      at = end;
    }
  }

  private static int characterEnd(byte[] text, int at) {
    int lead = text[at] & 0xFF;
    int length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    return Math.min(at + length, text.length);
  }

  private static int packed(byte[] text, int from, int to) {
    int packed = 0;
    for (int i = from; i < to; i++) {
      packed = packed << 8 | text[i] & 0xFF;
    }
    return packed;
  }

  private static long pair(int left, int right) {
    return ((long) left << 32 | right & 0xFFFFFFFFL) & Long.MAX_VALUE;
  }

  @Override
  public Session session() {
    PairMerger merger =
        new PairMerger(
            (bytes, leftStart, rightEnd, leftId, rightId) -> {
              int id = vocabulary.find(bytes, leftStart, rightEnd);
              return id < 0 || !mergeable(id)
                  ? PairMerger.NO_MERGE
                  : (long) descending(vocabulary.score(id)) << 32 | id;
            });
    return (text, from, to, ids) -> encode(marked(text, from, to), merger, ids);
  }

  /** An int whose unsigned order is the reverse of the scores' order; never all ones. */
  private static int descending(float score) {
    int bits = Float.floatToIntBits(score + 0.0f);
    int ascending = bits < 0 ? ~bits : bits | 0x80000000;
    return ~ascending;
  }

  private static byte[] marked(String text, int from, int to) {
    byte[] plain = text.substring(from, to).getBytes(StandardCharsets.UTF_8);
    int spaces = 0;
    for (byte b : plain) {
      spaces += b == ' ' ? 1 : 0;
    }
    byte[] marked = new byte[Math.addExact(plain.length, 2 * spaces)];
    int at = 0;
    for (byte b : plain) {
      if (b == ' ') {
        System.arraycopy(SPACE_MARK, 0, marked, at, SPACE_MARK.length);
        at += SPACE_MARK.length;
      } else {
        marked[at++] = b;
      }
    }
    return marked;
  }

  private void encode(byte[] bytes, PairMerger merger, IntList ids) {
    int at = 0;
    int previous = -1;
    merger.clear();
    while (at < bytes.length) {
      int end = characterEnd(bytes, at);
      int character = packed(bytes, at, end);
      if (at > 0 && neighbours.find(pair(previous, character)) < 0) {
        segment(bytes, merger, ids);
      }
      int id = vocabulary.find(bytes, at, end);
      merger.add(at, end, id >= 0 && mergeable(id) ? id : -1);
      previous = character;
      at = end;
    }
    segment(bytes, merger, ids);
  }

  private void segment(byte[] bytes, PairMerger merger, IntList ids) {
    merger.merge(bytes);
    for (int symbol = merger.first(); symbol >= 0; symbol = merger.next(symbol)) {
      if (merger.token(symbol) >= 0) {
        ids.add(merger.token(symbol));
        continue;
      }
      for (int i = merger.start(symbol); i < merger.end(symbol); i++) {
        int id = tokenOfByte[bytes[i] & 0xFF];
        if (id >= 0 || unknown >= 0) {
          ids.add(id >= 0 ? id : unknown);
        }
      }
    }
    merger.clear();
  }

  @Override
  public byte[] bytes(int id) {
    byte[] text = vocabulary.text(id);
    if (vocabulary.kind(id) == TokenKind.BYTE) {
      String digits = new String(text, StandardCharsets.UTF_8);
      return digits.matches("<0x[0-9A-Fa-f]{2}>")
          ? new byte[] {(byte) Integer.parseInt(digits.substring(3, 5), 16)}
          : text.clone();
    }
    byte[] bytes = new byte[text.length];
    int size = 0;
    for (int i = 0; i < text.length; i++) {
      if (i + 3 <= text.length && Arrays.equals(text, i, i + 3, SPACE_MARK, 0, 3)) {
        bytes[size++] = ' ';
        i += 2;
      } else {
        bytes[size++] = text[i];
      }
    }
    return Arrays.copyOf(bytes, size);
  }

  @Override
  public boolean addsSpacePrefix() {
    return addSpacePrefix;
  }
}
