package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/**
 * A paragraph of a sample document, as a reading test would show it.
 *
 * @param document name of the file without its ending
 * @param text on one line
 */
record Passage(String document, String text) {
  /** Paragraphs below are joined, those above are cut: SQuAD's have about 120 words. */
  private static final int LEAST_WORDS = 50;

  private static final int MOST_WORDS = 110;

  /** A document with such a line is not wrapped: each line is a paragraph. */
  private static final int UNWRAPPED_LINE = 200;

  private static final Pattern SENTENCE_END = Pattern.compile("(?<=[.!?;]\"?'?)\\s+(?=[A-Z\"'—(])");

  /** The passages of a document, in order; together they are all of its words. */
  static List<Passage> of(String document, String text) {
    boolean wrapped = text.lines().allMatch(line -> line.length() < UNWRAPPED_LINE);
    List<String> pieces = new ArrayList<>();
    for (String paragraph : text.split(wrapped ? "\\n\\s*\\n" : "\\n")) {
      String flat = paragraph.replaceAll("\\s+", " ").strip();
      if (words(flat) <= MOST_WORDS) {
        pieces.add(flat);
      } else {
        pieces.addAll(List.of(SENTENCE_END.split(flat)));
      }
    }
    List<Passage> passages = new ArrayList<>();
    StringBuilder open = new StringBuilder();
    for (String piece : pieces) {
      boolean full = words(open.toString()) >= LEAST_WORDS;
      if (full && words(open.toString()) + words(piece) > MOST_WORDS) {
        passages.add(new Passage(document, open.toString()));
        open.setLength(0);
      }
      open.append(open.length() == 0 || piece.isEmpty() ? "" : " ").append(piece);
    }
    if (open.length() > 0) {
      passages.add(new Passage(document, open.toString()));
    }
    return passages;
  }

  private static int words(String text) {
    return text.isEmpty() ? 0 : text.split(" ").length;
  }
}
