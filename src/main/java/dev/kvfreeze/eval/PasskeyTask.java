package dev.kvfreeze.eval;

import java.util.List;
import java.util.Random;

/**
 * A number hidden at a given depth, the seed saying which of eleven: in noise the passkey of
 * Mohtashami and Jaggi (arXiv 2305.16300), in prose the cells of a needle grid.
 */
public final class PasskeyTask implements EvaluationTask {
  /** Depths from the beginning to the end of the context. */
  public static final int DEPTHS = 11;

  private static final String NOISE =
      "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
  private static final String INTRO =
      "There is important info hidden inside a lot of irrelevant text. Find it and memorize it. I"
          + " will quiz you about the important information there.\n";
  private static final String QUESTION = "What is the pass key?";
  private static final String PREFIX = "The pass key is";

  private final String name;
  private final boolean prose;

  private PasskeyTask(String name, boolean prose) {
    this.name = name;
    this.prose = prose;
  }

  static PasskeyTask inNoise() {
    return new PasskeyTask("passkey", false);
  }

  static PasskeyTask inProse() {
    return new PasskeyTask("needle_grid", true);
  }

  /** Where the example of a seed has its number, 0 to 1. */
  public static double depth(long seed) {
    return Math.floorMod(seed, DEPTHS) / (DEPTHS - 1.0);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String family() {
    return "retrieval";
  }

  @Override
  public int answerTokens() {
    return 16;
  }

  @Override
  public EvaluationExample example(ExampleSize size, Haystack haystack, long seed) {
    Random random = new Random(seed * 7919 + 41);
    String key = Integer.toString(10_000 + random.nextInt(90_000));
    int first = random.nextInt(haystack.sentenceCount());
    int units =
        size.mostUnits(
            1,
            20_000,
            n -> INTRO + context(haystack, key, n, first, depth(seed)) + QUESTION + PREFIX);
    return new EvaluationExample(
        INTRO + context(haystack, key, units, first, depth(seed)) + "\n",
        QUESTION,
        PREFIX,
        List.of(key));
  }

  private String context(Haystack haystack, String key, int units, int first, double depth) {
    StringBuilder text = new StringBuilder();
    int place = (int) Math.round(depth * units);
    for (int i = 0; i <= units; i++) {
      if (i == place) {
        text.append("The pass key is ")
            .append(key)
            .append(". Remember it. ")
            .append(key)
            .append(" is the pass key.")
            .append(prose ? ' ' : '\n');
      }
      if (i < units) {
        text.append(prose ? haystack.sentence(first + i) : NOISE).append(prose ? ' ' : '\n');
      }
    }
    return text.toString();
  }
}
