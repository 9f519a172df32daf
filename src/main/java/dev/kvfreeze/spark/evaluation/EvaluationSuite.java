package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.eval.EvaluationTasks;
import dev.kvfreeze.eval.PasskeyTask;
import dev.kvfreeze.spark.conf.ConfigurationException;
import java.util.ArrayList;
import java.util.List;

/** What an evaluation asks unless told otherwise. */
enum EvaluationSuite {
  /** About ten minutes on two cores with the default model. */
  SHORT(
      List.of("niah_single_2", "niah_multikey_1", "vt", "fwe", EvaluationItem.PERPLEXITY),
      List.of(2048),
      2),
  /** About three hours on two cores with the default model. */
  FULL(all(), List.of(1024, 2048, 4096, 8192), 4);

  private final List<String> tasks;
  private final List<Integer> lengths;
  private final int samples;

  EvaluationSuite(List<String> tasks, List<Integer> lengths, int samples) {
    this.tasks = tasks;
    this.lengths = lengths;
    this.samples = samples;
  }

  private static int leastLength(String task) {
    return task.equals(EvaluationItem.PERPLEXITY) ? 0 : EvaluationTasks.of(task).leastLength();
  }

  /** The suite of a name, in any case. */
  static EvaluationSuite named(String name) {
    for (EvaluationSuite suite : values()) {
      if (suite.name().equalsIgnoreCase(name)) {
        return suite;
      }
    }
    throw new ConfigurationException(
        "unknown suite '%s'; there are short and full".formatted(name));
  }

  private static List<String> all() {
    List<String> names = new ArrayList<>(EvaluationTasks.names());
    names.add(EvaluationItem.PERPLEXITY);
    return List.copyOf(names);
  }

  /**
   * The examples, short ones first so that a first table comes early.
   *
   * @param tasks instead of the suite's, or null
   * @param lengths instead of the suite's, or null
   * @param samples of each task and length, or 0 for the suite's
   * @param firstSeed of the first sample
   * @param contextLength longer examples of the suite are left out, named lengths refused
   */
  List<EvaluationItem> items(
      List<String> tasks, List<Integer> lengths, int samples, long firstSeed, int contextLength) {
    List<EvaluationItem> items = new ArrayList<>();
    for (int length : lengths == null ? List.<Integer>of() : lengths) {
      if (length > contextLength || length < 1) {
        throw new ConfigurationException(
            "length %d: the model's context has %d tokens; choose shorter --lengths"
                .formatted(length, contextLength));
      }
    }
    for (int length : lengths == null ? this.lengths : lengths) {
      for (String task : tasks == null ? this.tasks : tasks) {
        if (!task.equals(EvaluationItem.PERPLEXITY)) {
          EvaluationTasks.of(task);
        }
        if (tasks == null && length < leastLength(task)) {
          continue;
        }
        boolean grid = task.equals("needle_grid") && tasks == null;
        int count = grid ? PasskeyTask.DEPTHS : samples == 0 ? this.samples : samples;
        for (int sample = 0; sample < count && length <= contextLength; sample++) {
          items.add(new EvaluationItem(task, length, firstSeed + sample));
        }
      }
    }
    return items;
  }
}
