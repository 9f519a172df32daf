package dev.kvfreeze.eval;

import dev.kvfreeze.eval.NeedleTask.Filling;
import dev.kvfreeze.eval.NeedleTask.Kind;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The tasks by name, with RULER's published parameters. */
public final class EvaluationTasks {
  private static final Map<String, EvaluationTask> BY_NAME = new LinkedHashMap<>();

  static {
    needle("niah_single_1", Filling.NOISE, Kind.WORDS, Kind.NUMBERS, 1, 1, 1);
    needle("niah_single_2", Filling.PROSE, Kind.WORDS, Kind.NUMBERS, 1, 1, 1);
    needle("niah_single_3", Filling.PROSE, Kind.WORDS, Kind.UUIDS, 1, 1, 1);
    needle("niah_multikey_1", Filling.PROSE, Kind.WORDS, Kind.NUMBERS, 4, 1, 1);
    needle("niah_multikey_2", Filling.NEEDLES, Kind.WORDS, Kind.NUMBERS, 1, 1, 1);
    needle("niah_multikey_3", Filling.NEEDLES, Kind.UUIDS, Kind.UUIDS, 1, 1, 1);
    needle("niah_multivalue", Filling.PROSE, Kind.WORDS, Kind.NUMBERS, 1, 4, 1);
    needle("niah_multiquery", Filling.PROSE, Kind.WORDS, Kind.NUMBERS, 1, 1, 4);
    add(new VariableTrackingTask());
    add(new CommonWordsTask());
    add(new FrequentWordsTask());
    add(QuestionAnsweringTask.onePassage());
    add(QuestionAnsweringTask.twoPassages());
    add(PasskeyTask.inNoise());
    add(PasskeyTask.inProse());
    add(new SummaryTask());
  }

  private EvaluationTasks() {}

  private static void needle(
      String name, Filling filling, Kind key, Kind value, int keys, int values, int queries) {
    add(new NeedleTask(name, filling, key, value, keys, values, queries));
  }

  private static void add(EvaluationTask task) {
    BY_NAME.put(task.name(), task);
  }

  /** All names, in RULER's order. */
  public static List<String> names() {
    return List.copyOf(BY_NAME.keySet());
  }

  /**
   * The task of a name.
   *
   * @throws IllegalArgumentException when there is none, with all names
   */
  public static EvaluationTask of(String name) {
    EvaluationTask task = BY_NAME.get(name);
    if (task == null) {
      throw new IllegalArgumentException(
          "unknown task '%s'; there are %s".formatted(name, String.join(", ", names())));
    }
    return task;
  }
}
