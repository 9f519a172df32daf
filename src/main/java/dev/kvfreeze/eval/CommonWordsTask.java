package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * RULER's common words (section 3.3): ten words appear 30 times, all others three times, in a
 * numbered list; one short example with its answer comes first.
 */
public final class CommonWordsTask implements EvaluationTask {
  private static final int COMMON = 10;
  private static final int COMMON_TIMES = 30;
  private static final int OTHER_TIMES = 3;
  private static final String INTRO =
      "Below is a numbered list of words. In these words, some appear more often than others."
          + " Memorize the ones that appear most often.\n";
  private static final String QUESTION =
      "Question: What are the 10 most common words in the above list?";
  private static final String PREFIX =
      "Answer: The top 10 words that appear most often in the list are:";

  @Override
  public String name() {
    return "cwe";
  }

  @Override
  public String family() {
    return "aggregation";
  }

  @Override
  public int answerTokens() {
    return 120;
  }

  /** Ten words 30 times each, and the worked example. */
  @Override
  public int leastLength() {
    return 4096;
  }

  @Override
  public EvaluationExample example(ExampleSize size, Haystack haystack, long seed) {
    Random random = new Random(seed * 7919 + 29);
    List<String> words = new ArrayList<>(haystack.words());
    Collections.shuffle(words, random);
    List<String> shot = words.subList(0, 2 * COMMON);
    List<String> common = words.subList(2 * COMMON, 3 * COMMON);
    List<String> others = words.subList(3 * COMMON, words.size());
    long order = random.nextLong();
    String example =
        INTRO
            + list(shot.subList(0, COMMON), shot.subList(COMMON, 2 * COMMON), 3, 1, order)
            + "\n"
            + QUESTION
            + "\n"
            + PREFIX
            + numbered(shot.subList(0, COMMON))
            + "\n\n";
    int units =
        size.mostUnits(
            COMMON,
            others.size(),
            n ->
                example
                    + INTRO
                    + list(common, others.subList(0, n), COMMON_TIMES, OTHER_TIMES, order)
                    + QUESTION
                    + PREFIX);
    String context =
        example
            + INTRO
            + list(common, others.subList(0, units), COMMON_TIMES, OTHER_TIMES, order)
            + "\n";
    return new EvaluationExample(context, QUESTION, PREFIX, List.copyOf(common));
  }

  private static String list(
      List<String> common, List<String> others, int commonTimes, int otherTimes, long order) {
    List<String> all = new ArrayList<>();
    common.forEach(word -> all.addAll(Collections.nCopies(commonTimes, word)));
    others.forEach(word -> all.addAll(Collections.nCopies(otherTimes, word)));
    Collections.shuffle(all, new Random(order));
    return numbered(all);
  }

  private static String numbered(List<String> words) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < words.size(); i++) {
      text.append(i == 0 ? "" : " ").append(i + 1).append(". ").append(words.get(i));
    }
    return text.toString();
  }
}
