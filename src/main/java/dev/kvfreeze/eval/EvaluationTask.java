package dev.kvfreeze.eval;

import java.util.List;

/** A kind of question over a long context, with known answers. Stateless. */
public interface EvaluationTask {
  String name();

  /**
   * The group whose scores are averaged together: retrieval, tracing, aggregation, question,
   * summary.
   */
  String family();

  /** Most tokens that the model may answer with. */
  int answerTokens();

  /** Tokens below which there is no example with any tokenizer in use. */
  default int leastLength() {
    return 512;
  }

  /** Makes an example of at most {@code size.tokens()} tokens; the same for the same seed. */
  EvaluationExample example(ExampleSize size, Haystack haystack, long seed);

  /** Whether the answers are different words for one answer, and any of them will do. */
  default boolean answersAreAliases() {
    return false;
  }

  /** 0 to 100. */
  default double score(EvaluationExample example, String output) {
    return answersAreAliases()
        ? StringMatch.any(example.answers(), output)
        : StringMatch.all(example.answers(), output);
  }

  /**
   * The same where the full cache's output is what others are measured by.
   *
   * @param control output of the first policy, itself when that is scored
   */
  default double score(EvaluationExample example, String output, String control) {
    return score(example, output);
  }

  /** A second score, 0 to 100, by something in the context; NaN where there is none. */
  default double reference(EvaluationExample example, String output) {
    return Double.NaN;
  }

  /** Answers that are all asked for. */
  static double share(long found, List<String> answers) {
    return 100.0 * found / answers.size();
  }
}
