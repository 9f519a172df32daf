package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * A seeded layer: keys, values and queries of one or more sequences, their pages, and the plain
 * dense softmax in float64 that kernels are held against.
 */
final class AttentionCase {
  final AttentionShape shape;
  final PageLayout layout;
  final CpuPageMemory memory;
  final List<Sequence> sequences = new ArrayList<>();
  private final Random random;
  private int slots;
  private int rows;

  AttentionCase(AttentionShape shape, int pageTokens, KvFormat format, long seed) {
    this.shape = shape;
    layout = new PageLayout(shape.headSize(), pageTokens, format);
    memory = new CpuPageMemory(layout, 1L << 30);
    random = new Random(seed);
  }

  /** How a sequence's tokens lie in pages. */
  enum Pages {
    /** Full pages, the last one partly filled. */
    DENSE,
    /** Pages of uneven token counts. */
    RAGGED,
    /** Some pages of the middle frozen, differently by head. */
    FROZEN
  }

  /** Adds a sequence whose last {@code rowCount} of {@code context} tokens are the pass's rows. */
  Sequence add(int context, int rowCount, Pages pages, float magnitude) {
    Sequence sequence = new Sequence(context, rowCount, pages, magnitude, rows);
    rows += rowCount;
    sequences.add(sequence);
    return sequence;
  }

  List<AttentionSegment> segments() {
    return sequences.stream().map(s -> s.segment).toList();
  }

  /** The masses of all pages, by sequence and head. */
  float[] masses() {
    List<Float> all = new ArrayList<>();
    for (Sequence s : sequences) {
      for (HeadPages pages : s.segment.heads()) {
        for (int p = 0; p < pages.count; p++) {
          all.add(pages.mass[p]);
        }
      }
    }
    float[] array = new float[all.size()];
    for (int i = 0; i < array.length; i++) {
      array[i] = all.get(i);
    }
    return array;
  }

  CpuActivations queries() {
    int columns = shape.heads() * shape.headSize();
    CpuActivations x = CpuActivations.allocate(rows, columns);
    for (Sequence s : sequences) {
      System.arraycopy(s.queries, 0, x.values(), s.firstRow * columns, s.queries.length);
    }
    return x;
  }

  CpuActivations output() {
    return CpuActivations.allocate(rows, shape.heads() * shape.headSize());
  }

  /** Writes all tokens through {@link KvWriter} as one chunk each, and fills unused words. */
  void write(WorkerPool pool) {
    memory.ensure(slots);
    for (Sequence s : sequences) {
      s.store();
      int columns = shape.kvHeads() * layout.headSize();
      List<AttentionSegment> all = new ArrayList<>();
      HeadPages[] everything = new HeadPages[shape.kvHeads()];
      for (int h = 0; h < shape.kvHeads(); h++) {
        everything[h] = s.everyPage[h];
      }
      all.add(new AttentionSegment(0, s.context, 0, everything));
      new KvWriter(pool, NativeLevel.NONE)
          .write(
              new CpuActivations(s.context, columns, s.keys),
              new CpuActivations(s.context, columns, s.values),
              shape,
              memory,
              all);
    }
  }

  final class Sequence {
    final int context;
    final int rowCount;
    final int firstRow;
    final float[] keys;
    final float[] values;
    final float[] queries;
    final HeadPages[] everyPage;
    final AttentionSegment segment;

    /** Keys and values as pages hold them. */
    private float[] storedKeys = {};

    private float[] storedValues = {};

    private Sequence(int context, int rowCount, Pages kind, float magnitude, int firstRow) {
      this.context = context;
      this.rowCount = rowCount;
      this.firstRow = firstRow;
      int columns = shape.kvHeads() * shape.headSize();
      keys = gaussian(context * columns, magnitude);
      values = gaussian(context * columns, 1f);
      queries = gaussian(rowCount * shape.heads() * shape.headSize(), magnitude);
      everyPage = new HeadPages[shape.kvHeads()];
      HeadPages[] active = new HeadPages[shape.kvHeads()];
      for (int h = 0; h < active.length; h++) {
        everyPage[h] = pages(kind);
        active[h] = kind == Pages.FROZEN ? thinned(everyPage[h]) : everyPage[h];
      }
      segment = new AttentionSegment(firstRow, rowCount, context - rowCount, active);
    }

    private HeadPages pages(Pages kind) {
      HeadPages pages = new HeadPages();
      int position = 0;
      while (position < context) {
        int count = Math.min(layout.pageTokens(), context - position);
        if (kind == Pages.RAGGED) {
          count = 1 + random.nextInt(count);
        }
        pages.ensure(pages.count + 1);
        pages.slots[pages.count] = slots++;
        pages.firstPositions[pages.count] = position;
        pages.tokenCounts[pages.count] = count;
        pages.count++;
        position += count;
      }
      return pages;
    }

    /** Drops about half of the pages that hold no token of the present rows. */
    private HeadPages thinned(HeadPages all) {
      HeadPages kept = new HeadPages();
      for (int p = 0; p < all.count; p++) {
        boolean own = all.firstPositions[p] + all.tokenCounts[p] > context - rowCount;
        if (own || p == 0 || random.nextBoolean()) {
          kept.ensure(kept.count + 1);
          kept.slots[kept.count] = all.slots[p];
          kept.firstPositions[kept.count] = all.firstPositions[p];
          kept.tokenCounts[kept.count] = all.tokenCounts[p];
          kept.count++;
        }
      }
      return kept;
    }

    void wantMass() {
      for (HeadPages pages : segment.heads()) {
        pages.wantMass = true;
      }
    }

    /** Dense attention of one query head of one row; {@code mass} gains probabilities by page. */
    double[] dense(int row, int head, double[] mass) {
      List<int[]> seen = seen(row, head);
      return mean(seen, probabilities(row, head, seen, mass), head, null);
    }

    /** The same and how far the values lie from it on average, weighted as there. */
    double[][] denseAndSpread(int row, int head, double[] mass) {
      List<int[]> seen = seen(row, head);
      double[] probabilities = probabilities(row, head, seen, mass);
      double[] mean = mean(seen, probabilities, head, null);
      return new double[][] {mean, mean(seen, probabilities, head, mean)};
    }

    /** Where the head's row begins in {@link AttentionCase#output}. */
    int outputAt(int row, int head) {
      return ((firstRow + row) * shape.heads() + head) * shape.headSize();
    }

    /** Position and page of each token that the row sees. */
    List<int[]> seen(int row, int head) {
      HeadPages pages = segment.heads()[head / shape.groupSize()];
      int position = segment.firstPosition() + row;
      int start = shape.window() == 0 ? 0 : position - shape.window() + 1;
      List<int[]> seen = new ArrayList<>();
      for (int p = 0; p < pages.count; p++) {
        for (int t = 0; t < pages.tokenCounts[p]; t++) {
          int at = pages.firstPositions[p] + t;
          if (at <= position && at >= start) {
            seen.add(new int[] {at, p});
          }
        }
      }
      return seen;
    }

    private double[] probabilities(int row, int head, List<int[]> seen, double[] mass) {
      int headSize = shape.headSize();
      double[] scores = new double[seen.size()];
      double max = Double.NEGATIVE_INFINITY;
      for (int i = 0; i < scores.length; i++) {
        for (int d = 0; d < headSize; d++) {
          double q = queries[(row * shape.heads() + head) * headSize + d];
          scores[i] += q * stored(storedKeys, seen.get(i)[0], head / shape.groupSize(), d);
        }
        scores[i] *= shape.scale();
        max = Math.max(max, scores[i]);
      }
      double sum = 0;
      for (int i = 0; i < scores.length; i++) {
        scores[i] = Math.exp(scores[i] - max);
        sum += scores[i];
      }
      for (int i = 0; i < scores.length; i++) {
        scores[i] /= sum;
        mass[seen.get(i)[1]] += scores[i];
      }
      return scores;
    }

    /** The mean value or, given one, the mean distance from it. */
    private double[] mean(List<int[]> seen, double[] probabilities, int head, double[] from) {
      double[] out = new double[shape.headSize()];
      for (int i = 0; i < probabilities.length; i++) {
        for (int d = 0; d < out.length; d++) {
          double value = stored(storedValues, seen.get(i)[0], head / shape.groupSize(), d);
          out[d] += probabilities[i] * (from == null ? value : Math.abs(value - from[d]));
        }
      }
      return out;
    }

    private void store() {
      storedKeys = StoredNumbers.of(keys, shape.headSize(), layout.format());
      storedValues = StoredNumbers.of(values, shape.headSize(), layout.format());
    }

    private double stored(float[] x, int position, int kvHead, int d) {
      return x[(position * shape.kvHeads() + kvHead) * shape.headSize() + d];
    }
  }

  private float[] gaussian(int size, float magnitude) {
    float[] x = new float[size];
    for (int i = 0; i < size; i++) {
      x[i] = magnitude * (float) random.nextGaussian();
    }
    return x;
  }
}
