package dev.kvfreeze.eval;

import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.util.function.IntFunction;
import java.util.function.ToIntFunction;

/**
 * How long an example may be.
 *
 * @param tokens of context, question and template together
 * @param count tokens of a text
 */
public record ExampleSize(int tokens, ToIntFunction<String> count) {
  /** Tokens left for a chat template's own text. */
  private static final int TEMPLATE_TOKENS = 64;

  /** What is left of a length when the task's answer has its room. */
  public static ExampleSize of(EvaluationTask task, int length, Tokenizer tokenizer) {
    return new ExampleSize(
        length - task.answerTokens(), text -> tokenizer.encode(text, SpecialTokens.AS_TEXT).length);
  }

  /**
   * The most units of filling with which an example still fits, at least {@code least}.
   *
   * @param text of the example with so many units
   * @throws IllegalArgumentException when not even the least fits
   */
  public int mostUnits(int least, int most, IntFunction<String> text) {
    int needed = count.applyAsInt(text.apply(least)) + TEMPLATE_TOKENS;
    if (needed > tokens) {
      throw new IllegalArgumentException(
          "the shortest example has %d tokens without the answer, %d were asked for; choose longer"
                  .formatted(needed, tokens)
              + " --lengths");
    }
    int fits = least;
    int tooMany = most + 1;
    while (tooMany - fits > 1) {
      int middle = (fits + tooMany) >>> 1;
      if (count.applyAsInt(text.apply(middle)) + TEMPLATE_TOKENS <= tokens) {
        fits = middle;
      } else {
        tooMany = middle;
      }
    }
    return fits;
  }
}
