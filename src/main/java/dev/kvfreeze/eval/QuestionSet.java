package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.List;

/**
 * Questions over the sample documents, with the passages that answer them and all others.
 *
 * @param questions in the file's order
 * @param passages of all sample documents, in order
 */
record QuestionSet(List<Item> questions, List<Passage> passages) {
  /**
   * A question.
   *
   * @param answers any of which is right
   * @param evidence passages that are needed to answer it
   */
  record Item(String question, List<String> answers, List<Passage> evidence) {}

  /**
   * Reads a set of the jar: blocks of lines {@code Q:}, {@code A:} and {@code E:}, comments behind
   * {@code #}.
   *
   * @throws IllegalStateException naming the question, when its evidence is not in exactly one
   *     passage
   */
  static QuestionSet read(String name) {
    List<Passage> passages = new ArrayList<>();
    for (String document : SampleDocuments.names()) {
      passages.addAll(Passage.of(document, SampleDocuments.text(document)));
    }
    List<Item> questions = new ArrayList<>();
    String text = SampleDocuments.resource("/evaluation/" + name + ".txt");
    for (String block : text.split("\\n\\s*\\n")) {
      String question = null;
      List<String> answers = List.of();
      List<Passage> evidence = new ArrayList<>();
      for (String line : block.split("\\n")) {
        String rest = line.length() < 2 ? "" : line.substring(2).strip();
        if (line.startsWith("Q:")) {
          question = rest;
        } else if (line.startsWith("A:")) {
          answers = List.of(rest.split("\\s*\\|\\s*"));
        } else if (line.startsWith("E:")) {
          evidence.add(find(rest, question, passages));
        }
      }
      if (question != null) {
        questions.add(new Item(question, answers, List.copyOf(evidence)));
      }
    }
    return new QuestionSet(List.copyOf(questions), List.copyOf(passages));
  }

  private static Passage find(String place, String question, List<Passage> passages) {
    int bar = place.indexOf('|');
    String document = place.substring(0, bar).strip();
    String words = place.substring(bar + 1).strip();
    List<Passage> found =
        passages.stream()
            .filter(p -> p.document().equals(document) && p.text().contains(words))
            .toList();
    if (found.size() != 1) {
      throw new IllegalStateException(
          "'%s': %d passages of %s have the words '%s', it must be one"
              .formatted(question, found.size(), document, words));
    }
    return found.get(0);
  }
}
