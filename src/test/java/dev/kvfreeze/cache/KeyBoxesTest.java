package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Boxes against the keys themselves. */
class KeyBoxesTest {
  private static final int HEAD = 12;
  private static final int PAGE = 7;
  private static final int PAGES = 9;

  @ParameterizedTest
  @EnumSource(KvFormat.class)
  void estimatesAreTheSoftmaxOfBoundsThatNoKeyExceeds(KvFormat format) {
    Random random = new Random(11);
    PageLayout layout = new PageLayout(HEAD, PAGE, format);
    KeyBoxes boxes = new KeyBoxes(layout);
    float[][][] keys = new float[PAGES][PAGE][HEAD];
    for (float[][] page : keys) {
      boxes.add(words(page, layout, random));
    }
    assertThat(boxes.pages()).isEqualTo(PAGES);
    // One query: the logarithms of two estimates differ as the pages' bounds do.
    float[] query = new float[HEAD];
    for (int d = 0; d < HEAD; d++) {
      query[d] = (float) random.nextGaussian();
    }
    boxes.score(query, 0, 1, 1, 0);
    double[] bounds = new double[PAGES];
    double total = 0;
    for (int p = 0; p < PAGES; p++) {
      double best = Double.NEGATIVE_INFINITY;
      for (int d = 0; d < HEAD; d++) {
        double high = Double.NEGATIVE_INFINITY;
        for (int t = 0; t < PAGE; t++) {
          high = Math.max(high, query[d] * keys[p][t][d]);
        }
        bounds[p] += high;
      }
      for (int t = 0; t < PAGE; t++) {
        double score = 0;
        for (int d = 0; d < HEAD; d++) {
          score += query[d] * keys[p][t][d];
        }
        best = Math.max(best, score);
      }
      assertThat(bounds[p]).isGreaterThanOrEqualTo(best - 1e-6);
      total += Math.exp(bounds[p]);
    }
    double tolerance = format == KvFormat.BF16 ? 1e-5 : 0.02;
    for (int p = 0; p < PAGES; p++) {
      assertThat((double) boxes.estimate(p))
          .isCloseTo(Math.exp(bounds[p]) / total, within(tolerance));
    }
    assertThat(boxes.estimate(PAGES)).isZero();
    boxes.score(query, 0, 1, 1, 4);
    assertThat(boxes.estimate(3)).isZero();
    boxes.cut(2);
    assertThat(boxes.pages()).isEqualTo(2);
    boxes.release();
    assertThat(boxes.bytes()).isZero();
  }

  /** Fills {@code page} with the values that the words hold. */
  private static int[] words(float[][] page, PageLayout layout, Random random) {
    int[] words = new int[layout.wordsPerPage()];
    int each = layout.valueWords();
    for (int t = 0; t < PAGE; t++) {
      for (int j = 0; j < layout.wordsPerToken(); j++) {
        boolean bytes = layout.format() == KvFormat.INT8;
        float size = bytes ? 0.01f : 1;
        int upper = Float.floatToRawIntBits(size * (float) random.nextGaussian()) & 0xFFFF0000;
        int lower = Float.floatToRawIntBits(size * (float) random.nextGaussian());
        boolean whole = bytes && j < each;
        words[j * PAGE + t] =
            whole
                ? random.nextInt()
                : layout.format() == KvFormat.F32 ? lower : upper | lower >>> 16;
      }
      for (int d = 0; d < HEAD; d++) {
        page[t][d] = layout.key(words, 0, t, d);
      }
    }
    return words;
  }
}
