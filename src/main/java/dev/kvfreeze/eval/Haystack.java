package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Prose to hide things in, as sentences, and the words in it. */
public final class Haystack {
  private static final Pattern SENTENCE = Pattern.compile("[^.!?]+[.!?]+[\"']?\\s*");
  private static final Pattern WORD = Pattern.compile("\\b[a-z]{4,9}\\b");

  private final List<String> sentences = new ArrayList<>();
  private final List<String> words;

  /**
   * @param texts prose; line breaks within paragraphs become spaces
   */
  public Haystack(List<String> texts) {
    Set<String> distinct = new LinkedHashSet<>();
    for (String text : texts) {
      String flat = text.replaceAll("\\s+", " ");
      Matcher sentence = SENTENCE.matcher(flat);
      while (sentence.find()) {
        sentences.add(sentence.group().strip());
      }
      Matcher word = WORD.matcher(flat);
      while (word.find()) {
        distinct.add(word.group());
      }
    }
    if (sentences.size() < 10 || distinct.size() < 500) {
      throw new IllegalArgumentException(
          "the haystack has %d sentences and %d words; give it some long prose"
              .formatted(sentences.size(), distinct.size()));
    }
    words = List.copyOf(distinct);
  }

  /** Sentences there are before they repeat. */
  public int sentenceCount() {
    return sentences.size();
  }

  /** Sentence {@code index}, beginning again behind the last. */
  public String sentence(int index) {
    return sentences.get(Math.floorMod(index, sentences.size()));
  }

  /** Different words of 4 to 9 letters, in order of their first appearance. */
  public List<String> words() {
    return words;
  }
}
