package dev.kvfreeze.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Golden cases: those of Lin (2004), and what a summary task does with them. */
class RougeLTest {
  @ParameterizedTest
  @CsvSource({
    "police killed the gunman, police kill the gunman, 75",
    "police killed the gunman, the gunman kill police, 50",
    "a b c d, A. B! c-d, 100",
    "a b c d, d c b a, 25",
    "one two, three, 0",
    "one two, '', 0",
    "'', '', 100",
    "a b, a b c d e f, 50",
  })
  void isTheLongestCommonSubsequence(String reference, String text, double score) {
    assertThat(RougeL.score(reference, text)).isCloseTo(score, within(1e-9));
    assertThat(RougeL.score(text, reference)).isCloseTo(score, within(1e-9));
  }

  @Test
  void aSummaryIsScoredByTheControlsAndByTheLead() {
    EvaluationTask task = EvaluationTasks.of("summary");
    EvaluationExample example = new EvaluationExample("", "", "", List.of("a b c d"));
    assertThat(task.score(example, "e f", "e f")).isEqualTo(100);
    assertThat(task.score(example, "a b c d", "e f")).isZero();
    assertThat(task.reference(example, "a b c d")).isEqualTo(100);
    assertThat(EvaluationTasks.of("vt").reference(example, "a b c d")).isNaN();
  }
}
