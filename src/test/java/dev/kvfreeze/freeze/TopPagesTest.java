package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The choice of the best pages. */
class TopPagesTest {
  private static final PolicyOptions OPTIONS = new PolicyOptions(4, 4, 8, 1, 64, 1);

  @Test
  void keepsSinksAndRecentTokensAndTheBestOfTheOthers() {
    TableHead table = table(50);
    table.estimates = new double[] {0, 5, 1, 9, 2, 8, 0, 0, 7, 0, 0, 0, 0};
    boolean[] chosen = new TopPages(OPTIONS).choose(table, 28);
    // Page 0 is the sink's, 10 to 12 hold the newest 8 tokens; 7 pages in all.
    assertThat(pages(chosen, 13)).containsExactly(0, 3, 5, 8, 10, 11, 12);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 16, 17, 28, 49, 50, 1000})
  void neverChoosesMoreThanTheBudgetNorLessThanWhatMustStay(int budget) {
    Random random = new Random(5);
    TopPages top = new TopPages(OPTIONS);
    for (int length : new int[] {1, 4, 9, 50, 131}) {
      TableHead table = table(length);
      table.estimates = random.ints(40, 0, 3).asDoubleStream().toArray();
      TreeSet<Integer> chosen = pages(top.choose(table, budget), table.pageCount());
      FreezablePages range = FreezablePages.of(table, OPTIONS);
      int must = table.pageCount() - Math.max(0, range.end() - range.first());
      int most = budget >= length ? table.pageCount() : Math.max(must, budget / 4);
      assertThat(chosen).hasSize(Math.min(table.pageCount(), most));
      for (int page = 0; page < table.pageCount(); page++) {
        if (page < range.first() || page >= range.end()) {
          assertThat(chosen).contains(page);
        }
      }
    }
  }

  private static TableHead table(int tokens) {
    TableHead table = new TableHead(4);
    for (int i = 0; i < tokens; i++) {
      table.append();
    }
    return table;
  }

  private static TreeSet<Integer> pages(boolean[] chosen, int count) {
    TreeSet<Integer> pages = new TreeSet<>();
    for (int page = 0; page < count; page++) {
      if (chosen[page]) {
        pages.add(page);
      }
    }
    return pages;
  }
}
