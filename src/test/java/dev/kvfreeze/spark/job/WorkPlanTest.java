package dev.kvfreeze.spark.job;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.spark.output.EarlierResults;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class WorkPlanTest {
  private static final WorkPlan.Capacity FOUR = new WorkPlan.Capacity(4, 8, 100_000, 10);

  private static DocumentSummary document(int number, String id, int characters) {
    return new DocumentSummary("%064x".formatted(number), id, characters, true);
  }

  @Test
  void binsCostAboutTheSameAndBeginWithTheirLongest() {
    Random random = new Random(1);
    List<DocumentSummary> input = new ArrayList<>();
    for (int i = 0; i < 97; i++) {
      input.add(document(i, "d" + i, 100 + random.nextInt(100_000)));
    }
    WorkPlan plan = WorkPlan.of(input, EarlierResults.NONE, FOUR);
    assertThat(plan.bins()).isEqualTo(4);
    var costs =
        plan.assignments().values().stream()
            .collect(
                Collectors.groupingBy(Assignment::bin, Collectors.summingLong(Assignment::cost)));
    long most = costs.values().stream().mapToLong(c -> c).max().getAsLong();
    long least = costs.values().stream().mapToLong(c -> c).min().getAsLong();
    assertThat((double) most / least).isLessThan(1.05);
    for (Assignment a : plan.assignments().values()) {
      for (Assignment b : plan.assignments().values()) {
        if (a.bin() == b.bin() && a.rank() < b.rank()) {
          assertThat(a.cost()).isGreaterThanOrEqualTo(b.cost());
        }
      }
    }
  }

  @Test
  void idsStayUniqueWhateverTheOrderOfTheInput() {
    List<DocumentSummary> input =
        List.of(document(1, "a", 10), document(2, "a", 20), document(1, "a", 10));
    List<DocumentSummary> reversed = List.of(input.get(2), input.get(1), input.get(0));
    WorkPlan plan = WorkPlan.of(input, EarlierResults.NONE, FOUR);
    assertThat(plan.repeatedRows()).isEqualTo(1);
    assertThat(ids(plan)).containsExactlyInAnyOrder("a", "a#00000000");
    assertThat(ids(WorkPlan.of(reversed, EarlierResults.NONE, FOUR)))
        .containsExactlyInAnyOrderElementsOf(ids(plan));
  }

  @Test
  void aFewDocumentsAreSpreadAndNoneMakeNoBins() {
    WorkPlan two =
        WorkPlan.of(List.of(document(1, "a", 10), document(2, "b", 10)), EarlierResults.NONE, FOUR);
    assertThat(two.bins()).isEqualTo(2);
    assertThat(two.assignments().values()).extracting(Assignment::bin).doesNotHaveDuplicates();
    assertThat(WorkPlan.of(List.of(), EarlierResults.NONE, FOUR).assignments()).isEmpty();
  }

  private static List<String> ids(WorkPlan plan) {
    return plan.assignments().values().stream().map(Assignment::documentId).toList();
  }
}
