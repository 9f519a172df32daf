package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.eval.EvaluationTask;
import dev.kvfreeze.eval.EvaluationTasks;
import dev.kvfreeze.eval.ExampleSize;
import dev.kvfreeze.eval.Haystack;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import dev.kvfreeze.spark.conf.ConfigurationException;
import java.util.List;

/** Refuses lengths that cannot hold an example before anything is begun. */
final class LengthCheck {
  private LengthCheck() {}

  /** Whether an example is so short that its task may not fit. */
  static boolean mayBeTooShort(EvaluationItem item) {
    return item.length() < 2 * leastLength(item.task());
  }

  private static int leastLength(String task) {
    return task.equals(EvaluationItem.PERPLEXITY)
        ? EvaluationTaskFunction.LEAST_TEXT_TOKENS
        : EvaluationTasks.of(task).leastLength();
  }

  /**
   * Makes the short ones of the examples, as the executors will.
   *
   * @throws ConfigurationException naming the task and the length of the first that does not fit
   */
  static void check(List<EvaluationItem> items, Tokenizer tokenizer, Haystack haystack) {
    for (EvaluationItem item : items) {
      if (!mayBeTooShort(item)) {
        continue;
      }
      if (item.task().equals(EvaluationItem.PERPLEXITY)) {
        requireText(item);
        continue;
      }
      EvaluationTask task = EvaluationTasks.of(item.task());
      try {
        task.example(ExampleSize.of(task, item.length(), tokenizer), haystack, item.seed());
      } catch (IllegalArgumentException e) {
        throw new ConfigurationException(
            "task %s, length %d: %s".formatted(item.task(), item.length(), e.getMessage()), e);
      }
    }
  }

  private static void requireText(EvaluationItem item) {
    if (item.length() < EvaluationTaskFunction.LEAST_TEXT_TOKENS) {
      throw new ConfigurationException(
          "task %s, length %d: %d tokens are the least; choose longer --lengths"
              .formatted(item.task(), item.length(), EvaluationTaskFunction.LEAST_TEXT_TOKENS));
    }
  }
}
