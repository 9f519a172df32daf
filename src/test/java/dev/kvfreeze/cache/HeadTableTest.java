package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HeadTableTest {
  private static final int PAGE_TOKENS = 16;

  private final HeadTable table = new HeadTable(0, null, null);
  private int length;
  private int nextSlot;

  /** A few moves are merged into the list, many rebuild it: it is that of the slots either way. */
  @ParameterizedTest
  @ValueSource(ints = {1, 3, 16, 40})
  void theListIsThatOfTheActivePages(int moves) {
    Random random = new Random(moves);
    for (int round = 0; round < 500; round++) {
      if (round % 3 == 0 && length < 200 * PAGE_TOKENS) {
        append();
      }
      for (int i = random.nextInt(moves + 1); i > 0; i--) {
        move(random.nextInt(table.count), random);
      }
      table.relist(PAGE_TOKENS, length);
      assertListed();
    }
  }

  @Test
  void aPageThatWentAndCameBackHasItsNewSlot() {
    append();
    append();
    freeze(0);
    thaw(0);
    table.relist(PAGE_TOKENS, length);

    assertListed();
    assertThat(table.pages.slots[0]).isEqualTo(2);
  }

  @Test
  void cutPagesLeaveTheList() {
    IntStream.range(0, 5).forEach(i -> append());
    freeze(1);
    table.cut(3);
    length = 3 * PAGE_TOKENS - 5;
    table.relist(PAGE_TOKENS, length);

    assertListed();
    assertThat(table.pages.tokenCounts[1]).isEqualTo(PAGE_TOKENS - 5);
  }

  private void append() {
    table.append(nextSlot++, length);
    table.fill(table.count - 1, PAGE_TOKENS, length + PAGE_TOKENS);
    length += PAGE_TOKENS;
  }

  private void move(int page, Random random) {
    if (random.nextInt(8) == 0) {
      table.setExcluded(page, !table.excluded(page));
    } else if (table.active(page)) {
      freeze(page);
    } else {
      thaw(page);
    }
  }

  private void freeze(int page) {
    table.slots[page] = HeadTable.NONE;
    table.moved(page);
  }

  private void thaw(int page) {
    table.slots[page] = nextSlot++;
    table.moved(page);
  }

  private void assertListed() {
    int[] expected =
        IntStream.range(0, table.count)
            .filter(page -> table.active(page) && !table.excluded(page))
            .toArray();
    assertThat(table.pages.count).isEqualTo(expected.length);
    for (int i = 0; i < expected.length; i++) {
      assertThat(table.pages.firstPositions[i]).isEqualTo(expected[i] * PAGE_TOKENS);
      assertThat(table.pages.slots[i]).isEqualTo(table.slots[expected[i]]);
      assertThat(table.pages.tokenCounts[i])
          .isEqualTo(Math.min(PAGE_TOKENS, length - expected[i] * PAGE_TOKENS));
      assertThat(table.pages.changedFrom).isLessThanOrEqualTo(i);
    }
  }
}
