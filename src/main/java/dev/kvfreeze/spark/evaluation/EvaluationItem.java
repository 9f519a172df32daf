package dev.kvfreeze.spark.evaluation;

import java.io.Serializable;

/**
 * One example, answered under every policy: a Spark task.
 *
 * @param task of the registry, or {@link #PERPLEXITY}
 * @param length tokens of context and question
 */
record EvaluationItem(String task, int length, long seed) implements Serializable {
  /** Text fed token by token instead of a question. */
  static final String PERPLEXITY = "perplexity";
}
