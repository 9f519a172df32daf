package dev.kvfreeze.eval;

import java.util.List;

/** A kind of question over a long context, with known answers. Stateless. */
public interface EvaluationTask {
  String name();

  /** The group whose scores are averaged together: retrieval, tracing, aggregation, question. */
  String family();

  /** Most tokens that the model may answer with. */
  int answerTokens();

  /** Tokens below which there is no example with any tokenizer in use. */
  default int leastLength() {
    return 512;
  }

  /** Makes an example of at most {@code size.tokens()} tokens; the same for the same seed. */
  EvaluationExample example(ExampleSize size, Haystack haystack, long seed);

  /** 0 to 100. */
  default double score(EvaluationExample example, String output) {
    return StringMatch.all(example.answers(), output);
  }

  /** Answers that are all asked for. */
  static double share(long found, List<String> answers) {
    return 100.0 * found / answers.size();
  }
}
