package dev.kvfreeze.model.tokenizer;

import dev.kvfreeze.model.gguf.GgufMetadata;
import java.nio.charset.StandardCharsets;

/**
 * Byte-level BPE as of GPT-2: every byte is a printable character of the vocabulary, and pairs
 * merge in the order of {@code tokenizer.ggml.merges}.
 */
final class ByteLevelEncoder implements TextEncoder {
  private static final String MERGES = "tokenizer.ggml.merges";
  private static final char[] CHAR_OF_BYTE = charOfByte();

  private final Vocabulary vocabulary;
  private final PreTokenizer preTokenizer;
  private final boolean ignoreMerges;
  private final int[] tokenOfByte = new int[256];

  /** (left id << 32 | right id) to rank. */
  private final LongIntMap ranks;

  private final int[] mergedId;

  ByteLevelEncoder(
      GgufMetadata metadata,
      Vocabulary vocabulary,
      PreTokenizer preTokenizer,
      boolean ignoreMerges) {
    this.vocabulary = vocabulary;
    this.preTokenizer = preTokenizer;
    this.ignoreMerges = ignoreMerges;
    for (int b = 0; b < 256; b++) {
      tokenOfByte[b] = vocabulary.find(String.valueOf(CHAR_OF_BYTE[b]));
    }
    byte[][] merges = metadata.byteStrings(MERGES);
    ranks = new LongIntMap(merges.length);
    mergedId = new int[merges.length];
    for (int rank = 0; rank < merges.length; rank++) {
      readMerge(metadata, merges[rank], rank);
    }
  }

  private void readMerge(GgufMetadata metadata, byte[] merge, int rank) {
    int space = 1; // The left side may itself be one character of any kind.
    while (space < merge.length && merge[space] != ' ') {
      space++;
    }
    if (space >= merge.length - 1) {
      throw Vocabulary.damaged(
          metadata,
          MERGES
              + ": entry "
              + rank
              + " is '"
              + Vocabulary.shown(merge)
              + "', not two tokens with a space between");
    }
    byte[] joined = new byte[merge.length - 1];
    System.arraycopy(merge, 0, joined, 0, space);
    System.arraycopy(merge, space + 1, joined, space, merge.length - space - 1);
    int left = vocabulary.find(merge, 0, space);
    int right = vocabulary.find(merge, space + 1, merge.length);
    int both = vocabulary.find(joined, 0, joined.length);
    if (left < 0 || right < 0 || both < 0) {
      throw Vocabulary.damaged(
          metadata,
          MERGES
              + ": entry "
              + rank
              + ", '"
              + Vocabulary.shown(merge)
              + "', names a token that "
              + Vocabulary.TOKENS
              + " does not have");
    }
    ranks.putIfAbsent((long) left << 32 | right, rank);
    mergedId[rank] = both;
  }

  @Override
  public Session session() {
    PairMerger merger =
        new PairMerger(
            (bytes, leftStart, rightEnd, leftId, rightId) -> {
              if ((leftId | rightId) < 0) {
                return PairMerger.NO_MERGE;
              }
              int rank = ranks.find((long) leftId << 32 | rightId);
              return rank < 0 ? PairMerger.NO_MERGE : (long) rank << 32 | mergedId[rank];
            });
    return (text, from, to, ids) ->
        preTokenizer.split(text, from, to, (start, end) -> word(text, start, end, merger, ids));
  }

  private void word(String text, int from, int to, PairMerger merger, IntList ids) {
    byte[] bytes = text.substring(from, to).getBytes(StandardCharsets.UTF_8);
    if (ignoreMerges) {
      int whole = wholeToken(bytes);
      if (whole >= 0) {
        ids.add(whole);
        return;
      }
    }
    merger.clear();
    for (int i = 0; i < bytes.length; i++) {
      merger.add(i, i + 1, tokenOfByte[bytes[i] & 0xFF]);
    }
    merger.merge(bytes);
    for (int symbol = merger.first(); symbol >= 0; symbol = merger.next(symbol)) {
      if (merger.token(symbol) >= 0) { // A byte the vocabulary lacks is lost, as in the reference.
        ids.add(merger.token(symbol));
      }
    }
  }

  private int wholeToken(byte[] bytes) {
    if (bytes.length > 256) {
      return -1; // Longer than any word in a vocabulary; spares the copy.
    }
    char[] chars = new char[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      chars[i] = CHAR_OF_BYTE[bytes[i] & 0xFF];
    }
    int id = vocabulary.find(new String(chars));
    return id >= 0 && vocabulary.kind(id) == TokenKind.NORMAL ? id : -1;
  }

  @Override
  public byte[] bytes(int id) {
    String text = new String(vocabulary.text(id), StandardCharsets.UTF_8);
    byte[] bytes = new byte[text.length()];
    for (int i = 0; i < bytes.length; i++) {
      int b = byteOfChar(text.charAt(i));
      if (b < 0) {
        return vocabulary.text(id).clone(); // Not in the alphabet: an added token, taken as it is.
      }
      bytes[i] = (byte) b;
    }
    return bytes;
  }

  @Override
  public boolean addsSpacePrefix() {
    return false;
  }

  private static boolean printable(int b) {
    return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE && b <= 0xFF;
  }

  /** Printable Latin-1 stands for itself, the other bytes for U+0100 and on, in order. */
  private static char[] charOfByte() {
    char[] chars = new char[256];
    int others = 0;
    for (int b = 0; b < 256; b++) {
      chars[b] = (char) (printable(b) ? b : 0x100 + others++);
    }
    return chars;
  }

  private static int byteOfChar(char c) {
    if (c < 0x100) {
      return printable(c) ? c : -1;
    }
    for (int b = 0; b < 256; b++) {
      if (CHAR_OF_BYTE[b] == c) {
        return b;
      }
    }
    return -1;
  }
}
