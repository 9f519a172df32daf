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

  /** Guesses by the tokens of what was counted, before halves are taken. */
  private static final int EVEN_TURNS = 12;

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
    int fits = least;
    int fitsTokens = needed(text, least);
    if (fitsTokens > tokens) {
      throw new IllegalArgumentException(
          "the shortest example has %d tokens without the answer, %d were asked for; choose longer"
                  .formatted(fitsTokens, tokens)
              + " --lengths");
    }
    // Twice as many until they are too many: no text is counted that is much longer than wanted.
    int tooMany = most + 1;
    int tooManyTokens = 0;
    for (long more = 1; fits + more < tooMany; more *= 2) {
      int probe = (int) (fits + more);
      int probeTokens = needed(text, probe);
      if (probeTokens > tokens) {
        tooMany = probe;
        tooManyTokens = probeTokens;
      } else {
        fits = probe;
        fitsTokens = probeTokens;
      }
    }
    for (int turn = 0; tooMany - fits > 1; turn++) {
      int probe = (fits + tooMany) >>> 1;
      // Tokens grow almost evenly with the units.
      if (tooManyTokens > 0 && turn < EVEN_TURNS) {
        double share = (tokens - fitsTokens) / (double) (tooManyTokens - fitsTokens);
        probe = fits + (int) (share * (tooMany - fits));
        probe = Math.max(fits + 1, Math.min(tooMany - 1, probe));
      }
      int probeTokens = needed(text, probe);
      if (probeTokens > tokens) {
        tooMany = probe;
        tooManyTokens = probeTokens;
      } else {
        fits = probe;
        fitsTokens = probeTokens;
      }
    }
    return fits;
  }

  private int needed(IntFunction<String> text, int units) {
    return count.applyAsInt(text.apply(units)) + TEMPLATE_TOKENS;
  }
}
