package dev.kvfreeze.eval;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The shipped questions, and golden scores. */
class QuestionAnsweringTaskTest {
  @ParameterizedTest
  @CsvSource({"qa_1, 1, 30", "qa_2, 2, 15"})
  void everyQuestionHasItsPassagesAndAnAnswerInThem(String name, int passages, int least) {
    QuestionSet set = QuestionSet.read(name);
    assertThat(set.questions()).hasSizeGreaterThanOrEqualTo(least);
    assertThat(set.questions().stream().map(QuestionSet.Item::question)).doesNotHaveDuplicates();
    for (QuestionSet.Item item : set.questions()) {
      assertThat(item.evidence()).as(item.question()).hasSize(passages).doesNotHaveDuplicates();
      String text =
          item.evidence().stream()
              .map(p -> SampleDocuments.title(p.document()) + " " + p.text())
              .collect(Collectors.joining(" "))
              .toLowerCase(Locale.ROOT);
      assertThat(item.answers())
          .as(item.question())
          .anyMatch(answer -> text.contains(answer.toLowerCase(Locale.ROOT)));
    }
  }

  @Test
  void passagesAreParagraphsAndTogetherTheirDocument() {
    for (String document : SampleDocuments.names()) {
      String text = SampleDocuments.text(document);
      List<Passage> passages = Passage.of(document, text);
      String together = passages.stream().map(Passage::text).collect(Collectors.joining(" "));
      assertThat(together).isEqualTo(text.replaceAll("\\s+", " ").strip());
      assertThat(passages).hasSizeGreaterThan(20);
      double mean = (double) together.split(" ").length / passages.size();
      assertThat(mean).isBetween(50.0, 130.0);
    }
  }

  @Test
  void thePassagesAreThereAmongOthersAndNothingIsThereTwice() {
    EvaluationTask task = EvaluationTasks.of("qa_2");
    QuestionSet set = QuestionSet.read("qa_2");
    ExampleSize size = new ExampleSize(2000, text -> text.split("\\s+").length);
    for (int seed = 0; seed < 40; seed++) {
      EvaluationExample example = task.example(size, null, seed);
      QuestionSet.Item item = set.questions().get(seed % set.questions().size());
      assertThat(example.question()).endsWith(item.question());
      for (Passage passage : item.evidence()) {
        assertThat(example.context())
            .containsOnlyOnce(
                SampleDocuments.title(passage.document()) + "\n" + passage.text() + "\n");
      }
      assertThat(example.context()).contains("Document 1:\n").contains("Document 12:\n");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "'It is 1,800 km long.', 100",
    "1800, 100",
    "' 1,800', 100",
    "18, 0",
    "'94 km', 0",
    "'', 0",
  })
  void anyAliasScoresTheWhole(String output, double score) {
    EvaluationTask task = EvaluationTasks.of("qa_1");
    EvaluationExample example =
        new EvaluationExample("", "", "", List.of("1,800 km", "1,800", "1800"));
    assertThat(task.score(example, output)).isEqualTo(score);
  }
}
