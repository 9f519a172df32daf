package dev.kvfreeze.eval;

import java.util.List;
import java.util.Locale;

/** RULER's scores (arXiv 2404.06654, evaluation by recall of strings), ignoring case. */
final class StringMatch {
  private StringMatch() {}

  /** The share of the answers that the output contains, in percent. */
  static double all(List<String> answers, String output) {
    String lower = output.toLowerCase(Locale.ROOT);
    long found = answers.stream().filter(a -> lower.contains(a.toLowerCase(Locale.ROOT))).count();
    return EvaluationTask.share(found, answers);
  }

  /** 100 when the output contains any of the answers. */
  static double any(List<String> answers, String output) {
    return all(answers, output) > 0 ? 100 : 0;
  }
}
