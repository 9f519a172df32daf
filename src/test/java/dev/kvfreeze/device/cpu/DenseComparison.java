package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.model.AttentionShape;
import java.util.stream.IntStream;

/**
 * Attention of rows, and the masses of pages, against the dense softmax in float64.
 *
 * @param rounding of a weight, as a share of it: what it moves is a share of how far values lie
 *     from their mean
 * @param ofValues the most that values are off by themselves
 */
record DenseComparison(AttentionCase layer, double rounding, double ofValues) {
  private static final double FLOAT_SUMS = 2e-5;

  void check(float[] out) {
    AttentionShape shape = layer.shape;
    for (AttentionCase.Sequence s : layer.sequences) {
      for (int kvHead = 0; kvHead < shape.kvHeads(); kvHead++) {
        HeadPages pages = s.segment.heads()[kvHead];
        double[] mass = new double[pages.count];
        for (int g = 0; g < shape.groupSize(); g++) {
          int head = kvHead * shape.groupSize() + g;
          IntStream.range(0, s.rowCount).parallel().forEach(row -> check(s, row, head, out, mass));
        }
        if (pages.wantMass) {
          for (int p = 0; p < pages.count; p++) {
            double share = mass[p] / (s.rowCount * shape.groupSize());
            assertThat((double) pages.mass[p])
                .as("page %d", p)
                .isCloseTo(share, within(rounding * share + FLOAT_SUMS));
          }
        }
      }
    }
  }

  /** Adds to the masses what the row should have. */
  private void check(AttentionCase.Sequence s, int row, int head, float[] out, double[] mass) {
    double[] rowMass = new double[mass.length];
    double[][] dense = s.denseAndSpread(row, head, rowMass);
    double[] expected = dense[0];
    double[] spread = dense[1];
    int at = s.outputAt(row, head);
    for (int d = 0; d < expected.length; d++) {
      double tolerance = rounding * spread[d] + FLOAT_SUMS + ofValues;
      if (!(Math.abs(out[at + d] - expected[d]) <= tolerance)) {
        assertThat((double) out[at + d])
            .as("row %d, head %d, dimension %d", row, head, d)
            .isCloseTo(expected[d], within(tolerance));
      }
    }
    synchronized (mass) {
      for (int p = 0; p < mass.length; p++) {
        mass[p] += rowMass[p];
      }
    }
  }
}
