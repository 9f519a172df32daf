package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.eval.ConfidenceInterval;
import dev.kvfreeze.eval.GrowthExponent;
import dev.kvfreeze.spark.job.Console;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.functions;

/**
 * The text summary: means over the examples with 95 % intervals, by length, family and policy; each
 * policy over the tasks that the control can do; and how the peak grows with the length.
 */
final class EvaluationReport {
  /** A task on which the control scores less says nothing about the other policies. */
  private static final double ABLE = 30;

  private EvaluationReport() {}

  static void print(Dataset<Row> trials, EvaluationRun run, Console console) {
    List<Trial> all =
        trials
            .where(functions.col("model_hash").equalTo(run.modelHash()))
            .where(functions.col("question").equalTo(run.decision()))
            .orderBy("finished_at")
            .collectAsList()
            .stream()
            .map(Trial::of)
            .toList();
    // The newest of an example and policy: the same may have been run with other settings before.
    Map<String, Trial> newest = new TreeMap<>();
    all.forEach(trial -> newest.put(trial.key(), trial));
    List<Trial> rows = List.copyOf(newest.values());
    families(rows, console);
    ableTasks(rows, run.settings().keySet().iterator().next(), console);
    growth(rows, console);
    console.result("Rows: " + run.output() + "/trials; figures: notebooks/quality.ipynb");
  }

  private static void families(List<Trial> rows, Console console) {
    console.result(
        String.format(
            "%-7s%-12s%-36s%4s%22s%8s%9s%11s%8s%8s",
            "length",
            "family",
            "policy",
            "n",
            "score, 95 %",
            "same",
            "KL",
            "perplexity",
            "peak",
            "mean"));
    grouped(rows, t -> "%08d %s %s".formatted(t.length, t.family, t.policy))
        .forEach(
            (key, group) ->
                console.result(
                    String.format(
                        Locale.ROOT,
                        "%-7d%-12s%-36s%4d%22s%8.3f%9s%11s%7.1f%%%7.1f%%",
                        group.get(0).length,
                        group.get(0).family,
                        group.get(0).policy,
                        group.size(),
                        withInterval(values(group, t -> t.score)),
                        mean(group, t -> t.agreement),
                        number("%.4f", mean(group, t -> t.divergence)),
                        number("%.3f", Math.exp(mean(group, t -> Math.log(t.perplexity)))),
                        100 * mean(group, t -> t.peak / t.full),
                        100 * mean(group, t -> t.resident / t.full))));
  }

  /**
   * The mean over tasks that the control can do, and the difference from it, example by example.
   */
  private static void ableTasks(List<Trial> rows, String control, Console console) {
    Set<String> able = new HashSet<>();
    Map<String, Double> controlScores = new TreeMap<>();
    grouped(
            rows.stream().filter(t -> t.scored() && t.policy.equals(control)).toList(),
            t -> t.length + " " + t.task)
        .forEach(
            (key, group) -> {
              if (mean(group, t -> t.score) >= ABLE) {
                able.add(key);
              }
              group.forEach(t -> controlScores.put(t.example(), t.score));
            });
    if (able.isEmpty()) {
      return;
    }
    console.result("%nExamples of tasks on which %s scores at least %.0f".formatted(control, ABLE));
    console.result(
        String.format(
            "%-7s%-36s%4s%22s%30s",
            "length", "policy", "n", "score, 95 %", "points from " + control + ", 95 %"));
    grouped(
            rows.stream()
                .filter(t -> t.scored() && able.contains(t.length + " " + t.task))
                .filter(t -> controlScores.containsKey(t.example()))
                .toList(),
            t -> "%08d %s".formatted(t.length, t.policy))
        .forEach(
            (key, group) ->
                console.result(
                    String.format(
                        Locale.ROOT,
                        "%-7d%-36s%4d%22s%30s",
                        group.get(0).length,
                        group.get(0).policy,
                        group.size(),
                        withInterval(values(group, t -> t.score)),
                        withInterval(
                            values(group, t -> t.score - controlScores.get(t.example()))))));
  }

  private static void growth(List<Trial> rows, Console console) {
    if (rows.stream().map(t -> t.length).distinct().count() < 2) {
      return;
    }
    console.result("\nExponent of the resident bytes at peak by length, 95 %");
    grouped(rows, t -> t.policy)
        .forEach(
            (policy, group) -> {
              if (group.stream().map(t -> t.length).distinct().count() >= 2) {
                GrowthExponent growth =
                    GrowthExponent.fit(
                        group.stream().mapToDouble(t -> t.promptTokens).toArray(),
                        group.stream().mapToDouble(t -> t.peak).toArray());
                console.result(
                    String.format(
                        Locale.ROOT,
                        "%-36s%4d%22s",
                        policy,
                        group.size(),
                        text("%.2f", growth.exponent(), growth.interval())));
              }
            });
  }

  private static Map<String, List<Trial>> grouped(
      List<Trial> rows, java.util.function.Function<Trial, String> key) {
    return rows.stream().collect(Collectors.groupingBy(key, TreeMap::new, Collectors.toList()));
  }

  private static double[] values(List<Trial> group, ToDoubleFunction<Trial> value) {
    return group.stream().mapToDouble(value).filter(v -> !Double.isNaN(v)).toArray();
  }

  private static double mean(List<Trial> group, ToDoubleFunction<Trial> value) {
    return mean(values(group, value));
  }

  private static double mean(double[] values) {
    double sum = 0;
    for (double value : values) {
      sum += value;
    }
    return values.length == 0 ? Double.NaN : sum / values.length;
  }

  private static String withInterval(double[] values) {
    return text("%.1f", mean(values), ConfidenceInterval.ofMean(values));
  }

  private static String text(String format, double value, ConfidenceInterval interval) {
    String middle = number(format, value);
    return interval.known()
        ? middle
            + " ["
            + number(format, interval.low())
            + ", "
            + number(format, interval.high())
            + "]"
        : middle;
  }

  private static String number(String format, double value) {
    return Double.isNaN(value) ? "" : String.format(Locale.ROOT, format, value);
  }

  /** What the summary needs of a row; NaN where the row has none. */
  private record Trial(
      String task,
      String family,
      int length,
      long seed,
      String policy,
      int promptTokens,
      double score,
      double agreement,
      double perplexity,
      double divergence,
      double peak,
      double resident,
      double full) {
    static Trial of(Row row) {
      return new Trial(
          row.getAs("task"),
          row.getAs("family"),
          row.<Integer>getAs("length"),
          row.<Long>getAs("seed"),
          row.getAs("policy"),
          row.<Integer>getAs("prompt_tokens"),
          number(row, "score"),
          number(row, "agreement"),
          number(row, "perplexity"),
          number(row, "divergence"),
          number(row, "peak_resident_kv_bytes"),
          number(row, "mean_resident_kv_bytes"),
          number(row, "full_kv_bytes"));
    }

    private static double number(Row row, String column) {
      Object value = row.getAs(column);
      return value == null ? Double.NaN : ((Number) value).doubleValue();
    }

    boolean scored() {
      return !Double.isNaN(score);
    }

    String example() {
      return task + " " + length + " " + seed;
    }

    String key() {
      return example() + " " + policy;
    }
  }
}
