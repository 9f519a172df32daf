package dev.kvfreeze.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Random;
import org.junit.jupiter.api.Test;

class ExampleSizeTest {
  /** What a chat template is left. */
  private static final int TEMPLATE = 64;

  private int longest;

  /** Texts of words of uneven length; a token is a letter. */
  private int count(String text) {
    longest = Math.max(longest, text.length());
    return text.length();
  }

  @Test
  void findsTheMostUnitsThatFit() {
    Random random = new Random(5);
    for (int round = 0; round < 300; round++) {
      int[] letters = random.ints(400, 1, 2 + random.nextInt(60)).toArray();
      int least = random.nextInt(3);
      int most = least + random.nextInt(letters.length - least);
      int tokens = TEMPLATE + lettersOf(letters, least) + random.nextInt(6000);
      int expected = least;
      while (expected < most && lettersOf(letters, expected + 1) + TEMPLATE <= tokens) {
        expected++;
      }
      ExampleSize size = new ExampleSize(tokens, this::count);
      assertThat(size.mostUnits(least, most, units -> "x".repeat(lettersOf(letters, units))))
          .isEqualTo(expected);
    }
  }

  @Test
  void countsNoTextThatIsMuchLongerThanWanted() {
    ExampleSize size = new ExampleSize(2000, this::count);
    assertThat(size.mostUnits(1, 1 << 30, units -> "word ".repeat(units)))
        .isEqualTo((2000 - TEMPLATE) / 5);
    assertThat(longest).isLessThan(2 * 2000);
  }

  @Test
  void whatDoesNotFitIsRefused() {
    ExampleSize size = new ExampleSize(70, this::count);
    assertThatThrownBy(() -> size.mostUnits(2, 9, units -> "word ".repeat(units)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("shortest example has 74 tokens")
        .hasMessageContaining("--lengths");
  }

  private static int lettersOf(int[] letters, int units) {
    int sum = 0;
    for (int i = 0; i < units; i++) {
      sum += letters[i];
    }
    return sum;
  }
}
