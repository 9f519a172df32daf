package dev.kvfreeze.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.engine.RealModels;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What holds for every task of the registry, with the real tokenizer and the shipped prose. */
class EvaluationTasksTest {
  private static LanguageModel model;
  private static Haystack haystack;

  static Stream<String> names() {
    return EvaluationTasks.names().stream();
  }

  @BeforeAll
  static void open() throws Exception {
    model = RealModels.smolLm2();
    haystack =
        new Haystack(
            List.of(
                Files.readString(Path.of("jobs/samples/austen-persuasion-opening.txt")),
                Files.readString(Path.of("jobs/samples/melville-moby-dick-loomings.txt"))));
  }

  @AfterAll
  static void close() {
    model.close();
  }

  @ParameterizedTest
  @MethodSource("names")
  void examplesFitTheirLengthHoldTheirAnswersAndComeAgainWithTheirSeed(String name) {
    EvaluationTask task = EvaluationTasks.of(name);
    assertThat(task.name()).isEqualTo(name);
    for (int more : new int[] {488, 1536}) {
      int length = task.leastLength() + more;
      EvaluationExample example = task.example(size(length - task.answerTokens()), haystack, 3);
      QuestionPrompt prompt = QuestionPrompt.of(model, example);
      assertThat(prompt.tokens().length + task.answerTokens()).isBetween(length * 8 / 10, length);
      assertThat(prompt.contextTokens()).isBetween(1, prompt.tokens().length - 1);
      assertThat(example.answers()).isNotEmpty();
      String context = example.context().replaceAll("\\s+", " ").toLowerCase(Locale.ROOT);
      List<String> answers =
          example.answers().stream().map(a -> a.toLowerCase(Locale.ROOT)).toList();
      if (task.answersAreAliases()) {
        assertThat(answers).anyMatch(context::contains);
      } else {
        assertThat(answers).allMatch(context::contains);
      }
      assertThat(task.example(size(length - task.answerTokens()), haystack, 3)).isEqualTo(example);
      assertThat(task.example(size(length - task.answerTokens()), haystack, 4).context())
          .isNotEqualTo(example.context());
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void scoresGoFromNothingToAllAnswers(String name) {
    EvaluationTask task = EvaluationTasks.of(name);
    EvaluationExample example = task.example(size(task.leastLength() + 400), haystack, 1);
    List<String> answers = example.answers();
    assertThat(task.score(example, String.join(", ", answers))).isEqualTo(100);
    assertThat(task.score(example, String.join(" ", answers).toUpperCase(Locale.ROOT)))
        .isEqualTo(100);
    assertThat(task.score(example, "")).isZero();
    if (answers.size() > 1) {
      assertThat(task.score(example, "I think " + answers.get(0)))
          .isCloseTo(task.answersAreAliases() ? 100 : 100.0 / answers.size(), within(1e-9));
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void aLengthThatCannotHoldTheTaskIsRefused(String name) {
    assertThatThrownBy(() -> EvaluationTasks.of(name).example(size(40), haystack, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("longer");
  }

  @Test
  void passkeysLieAtElevenDepths() {
    assertThat(PasskeyTask.depth(0)).isZero();
    assertThat(PasskeyTask.depth(10)).isEqualTo(1);
    assertThat(PasskeyTask.depth(16)).isEqualTo(0.5);
    EvaluationTask task = EvaluationTasks.of("needle_grid");
    EvaluationExample last = task.example(size(1500), haystack, 10);
    assertThat(last.context().indexOf(last.answers().get(0)))
        .isGreaterThan(last.context().length() * 9 / 10);
  }

  private static ExampleSize size(int tokens) {
    return new ExampleSize(
        tokens, text -> model.tokenizer().encode(text, SpecialTokens.AS_TEXT).length);
  }
}
