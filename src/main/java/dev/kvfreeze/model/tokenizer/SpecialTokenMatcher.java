package dev.kvfreeze.model.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;

/**
 * Finds special and user-defined tokens in a text and hands out what lies between them. The longest
 * token of all wins where several overlap, wherever it starts (llama.cpp's order, not
 * leftmost-longest): overlapping candidates are gathered into a cluster and settled there.
 */
final class SpecialTokenMatcher {
  /** Receives the pieces of a text in order. */
  interface Sink {
    void text(int from, int to);

    void token(int id);
  }

  /** Says where control tokens may be read. */
  interface Trust {
    boolean covers(int from, int to);
  }

  private record Entry(int id, String text, boolean always) {}

  /** Longest first; the index is an entry's rank. */
  private final List<Entry> entries;

  /** (node << 16 | char) to node; node 0 is the root. */
  private final LongIntMap edges;

  private final int[] rankAtNode;
  private final BitSet firstChars = new BitSet(1 << 16);

  SpecialTokenMatcher(Vocabulary vocabulary) {
    List<Entry> found = new ArrayList<>();
    for (int id = 0; id < vocabulary.size(); id++) {
      TokenKind kind = vocabulary.kind(id);
      if ((kind.special() || kind == TokenKind.USER_DEFINED) && vocabulary.text(id).length > 0) {
        String text = new String(vocabulary.text(id), StandardCharsets.UTF_8);
        found.add(new Entry(id, text, kind == TokenKind.USER_DEFINED));
      }
    }
    found.sort(
        Comparator.comparingInt((Entry entry) -> vocabulary.text(entry.id()).length).reversed());
    entries = List.copyOf(found);
    edges = new LongIntMap(entries.size() * 8);
    int nodes = 1;
    int[] ranks = new int[1024];
    Arrays.fill(ranks, -1);
    for (int rank = 0; rank < entries.size(); rank++) {
      String text = entries.get(rank).text();
      firstChars.set(text.charAt(0));
      int node = 0;
      for (int i = 0; i < text.length(); i++) {
        if (edges.putIfAbsent((long) node << 16 | text.charAt(i), nodes)) {
          node = nodes++;
          if (nodes > ranks.length) {
            int old = ranks.length;
            ranks = Arrays.copyOf(ranks, old * 2);
            Arrays.fill(ranks, old, ranks.length, -1);
          }
        } else {
          node = edges.find((long) node << 16 | text.charAt(i));
        }
      }
      if (ranks[node] < 0) {
        ranks[node] = rank;
      }
    }
    rankAtNode = ranks;
  }

  /** Splits a text; stretches between tokens are never empty. */
  void split(String text, Trust trust, Sink sink) {
    int done = 0;
    int position = 0;
    while (position < text.length()) {
      TreeSet<Integer> ranks = new TreeSet<>();
      int end = gather(text, position, trust, ranks);
      if (end < 0) {
        position++;
        continue;
      }
      int start = position;
      for (int i = start + 1; i < end; i++) {
        end = Math.max(end, gather(text, i, trust, ranks));
      }
      done = settle(text, done, start, end, ranks, trust, sink);
      position = end;
    }
    if (done < text.length()) {
      sink.text(done, text.length());
    }
  }

  /** Adds the tokens that start at a position; returns the end of the longest, or -1. */
  private int gather(String text, int start, Trust trust, TreeSet<Integer> ranks) {
    if (!firstChars.get(text.charAt(start))) {
      return -1;
    }
    int end = -1;
    int node = 0;
    for (int i = start; i < text.length(); i++) {
      node = edges.find((long) node << 16 | text.charAt(i));
      if (node < 0) {
        break;
      }
      int rank = rankAtNode[node];
      if (rank >= 0 && (entries.get(rank).always() || trust.covers(start, i + 1))) {
        ranks.add(rank);
        end = i + 1;
      }
    }
    return end;
  }

  /** Chooses among overlapping candidates; returns where the last chosen one ends. */
  private int settle(
      String text, int done, int start, int end, TreeSet<Integer> ranks, Trust trust, Sink sink) {
    BitSet covered = new BitSet(end - start);
    int[] chosen = new int[end - start];
    for (int rank : ranks) {
      Entry entry = entries.get(rank);
      int length = entry.text().length();
      int at = covered.nextClearBit(0);
      while (at + length <= end - start) {
        int from = start + at;
        boolean fits =
            text.startsWith(entry.text(), from)
                && (entry.always() || trust.covers(from, from + length));
        int taken = fits ? covered.nextSetBit(at) : -1;
        if (fits && (taken < 0 || taken >= at + length)) {
          covered.set(at, at + length);
          chosen[at] = rank + 1;
        }
        at = covered.nextClearBit(at + 1);
      }
    }
    int position = done;
    for (int at = covered.nextSetBit(0); at >= 0 && at < end - start; ) {
      Entry entry = entries.get(chosen[at] - 1);
      if (position < start + at) {
        sink.text(position, start + at);
      }
      sink.token(entry.id());
      position = start + at + entry.text().length();
      at = covered.nextSetBit(position - start);
    }
    return position;
  }
}
