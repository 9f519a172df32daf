package dev.kvfreeze.eval;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;

/** RULER's frequent words (section 3.3): made-up words whose counts follow Zipf's law, alpha 2. */
public final class FrequentWordsTask implements EvaluationTask {
  private static final double ALPHA = 2;
  private static final int VOCABULARY = 200;
  private static final String INTRO =
      "Read the following coded text and track the frequency of each coded word. Find the three most"
          + " frequently appeared coded words. ";
  private static final String QUESTION =
      "Question: Do not provide any explanation. Please ignore the dots '....'. What are the three"
          + " most frequently appeared words in the above coded text?";
  private static final String PREFIX =
      "Answer: According to the coded text above, the three most frequently appeared words are:";

  @Override
  public String name() {
    return "fwe";
  }

  @Override
  public String family() {
    return "aggregation";
  }

  @Override
  public int answerTokens() {
    return 50;
  }

  @Override
  public EvaluationExample example(ExampleSize size, Haystack haystack, long seed) {
    Random random = new Random(seed * 7919 + 31);
    List<String> words = new ArrayList<>();
    while (words.size() < VOCABULARY) {
      String word =
          random
              .ints(6, 0, 26)
              .mapToObj(c -> String.valueOf((char) ('a' + c)))
              .collect(Collectors.joining());
      if (!words.contains(word)) {
        words.add(word);
      }
    }
    long order = random.nextLong();
    int units = size.mostUnits(50, 20_000, n -> INTRO + text(words, n, order) + QUESTION + PREFIX);
    // The most frequent code of RULER is the dots, which do not count.
    return new EvaluationExample(
        INTRO + text(words, units, order) + "\n",
        QUESTION,
        PREFIX,
        List.copyOf(words.subList(1, 4)));
  }

  private static String text(List<String> words, int units, long order) {
    double total = 0;
    for (int rank = 1; rank <= VOCABULARY; rank++) {
      total += Math.pow(rank, -ALPHA);
    }
    List<String> all = new ArrayList<>();
    for (int rank = 1; rank <= VOCABULARY; rank++) {
      int times = (int) Math.round(units * Math.pow(rank, -ALPHA) / total);
      all.addAll(Collections.nCopies(times, rank == 1 ? "...." : words.get(rank - 1)));
    }
    Collections.shuffle(all, new Random(order));
    return String.join(" ", all);
  }
}
