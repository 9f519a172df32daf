package dev.kvfreeze.freeze;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import org.junit.jupiter.api.Test;

class MassHistogramTest {
  @Test
  void theLevelLeavesAtMostTheAskedForAndNearlyAsMany() {
    Random random = new Random(11);
    MassHistogram histogram = new MassHistogram();
    for (int count : new int[] {1, 7, 54, 97, 5000}) {
      histogram.clear();
      float[] values = new float[count];
      for (int i = 0; i < count; i++) {
        values[i] = (float) Math.exp(-20 * random.nextDouble());
        histogram.add(values[i]);
      }
      for (int most : new int[] {0, 1, count / 2, count}) {
        float level = histogram.levelOfTop(most);
        long above = 0;
        for (float value : values) {
          above += value >= level ? 1 : 0;
        }
        assertThat(above).isLessThanOrEqualTo(most);
        // A bucket is a 128th of an octave.
        assertThat(above).isGreaterThanOrEqualTo(most - 1 - count / 100);
      }
    }
  }

  @Test
  void theBestPagesComeInOrder() {
    BestPages best = new BestPages(3);
    best.clear();
    float[] importances = {0.2f, 0.5f, 0.1f, 0.9f, 0.4f, 0.5f};
    for (int page = 0; page < importances.length; page++) {
      best.offer(page, importances[page]);
    }
    assertThat(best.count()).isEqualTo(3);
    assertThat(new int[] {best.page(0), best.page(1), best.page(2)}).containsExactly(3, 1, 5);
    best.clear();
    assertThat(best.count()).isZero();
  }
}
