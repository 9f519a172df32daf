package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;

/** Computes tiles of prefill attention in one thread's scratch. Rows are ordered by head. */
final class PrefillTile {
  private final AttentionKernels kernels;
  private final KeyBlock block = new KeyBlock();
  private float[] queries = {};
  private float[] scores = {};
  private float[] sums = {};
  private float[] maxima = {};
  private float[] totals = {};
  private final float[] tokenMass = new float[KeyBlock.TOKENS];

  // The tile at hand.
  private int headSize;
  private int sumStride;
  private int tileRows;
  private int group;
  private int productRows;
  private int firstPosition;
  private int window;

  PrefillTile(AttentionKernels kernels) {
    this.kernels = kernels;
  }

  void attend(
      PrefillAttention.Item item,
      CpuActivations x,
      AttentionShape shape,
      CpuPageMemory memory,
      CpuActivations out,
      float[] masses) {
    begin(item, x, shape);
    HeadPages pages = item.segment().heads()[item.head()];
    int start = VisiblePages.windowStart(firstPosition, window);
    int from = VisiblePages.firstPage(pages, start);
    int to = Math.max(from, VisiblePages.pageLimit(pages, firstPosition + tileRows - 1));
    block.start(kernels, memory, pages, from, to);
    while (block.nextKeysAndValues()) {
      scoreBlock();
      for (int row = 0; row < group * tileRows; row++) {
        advance(row);
      }
      kernels.multiplyAdd(
          scores,
          KeyBlock.KEY_STRIDE,
          block.values,
          LineAligned.FIRST,
          block.valueStride,
          sums,
          sumStride,
          productRows,
          AttentionKernels.paddedColumns(headSize),
          block.count);
    }
    finish(item, out);
    if (pages.wantMass) {
      block.start(kernels, memory, pages, from, to);
      while (block.nextKeys()) {
        scoreBlock();
        addMass(masses, item.massOffset());
      }
    }
  }

  private void begin(PrefillAttention.Item item, CpuActivations x, AttentionShape shape) {
    AttentionSegment segment = item.segment();
    headSize = shape.headSize();
    sumStride = AttentionKernels.paddedColumns(headSize);
    group = shape.groupSize();
    tileRows = item.rows();
    window = shape.window();
    firstPosition = segment.firstPosition() + item.row();
    int rows = group * tileRows;
    int unit = AttentionKernels.PRODUCT_ROWS;
    productRows = (rows + unit - 1) / unit * unit;
    queries = ensured(queries, productRows * headSize);
    scores = ensured(scores, productRows * KeyBlock.KEY_STRIDE);
    sums = ensured(sums, productRows * sumStride);
    maxima = ensured(maxima, productRows);
    totals = ensured(totals, productRows);
    Arrays.fill(sums, 0, productRows * sumStride, 0f);
    Arrays.fill(queries, rows * headSize, productRows * headSize, 0f);
    Arrays.fill(maxima, 0, rows, Float.NEGATIVE_INFINITY);
    Arrays.fill(totals, 0, rows, 0f);
    for (int g = 0; g < group; g++) {
      for (int r = 0; r < tileRows; r++) {
        int row = segment.firstRow() + item.row() + r;
        int at = row * x.columns() + (item.head() * group + g) * headSize;
        int to = (g * tileRows + r) * headSize;
        System.arraycopy(x.values(), at, queries, to, headSize);
      }
    }
    kernels.scale(queries, 0, rows * headSize, shape.scale());
  }

  private void scoreBlock() {
    int unit = AttentionKernels.PRODUCT_COLUMNS;
    int columns = (block.count + unit - 1) / unit * unit;
    kernels.multiply(
        queries,
        headSize,
        block.keys,
        LineAligned.FIRST,
        KeyBlock.KEY_STRIDE,
        scores,
        KeyBlock.KEY_STRIDE,
        productRows,
        columns,
        headSize);
  }

  /** First token of the block that the row sees. */
  private int seenFrom(int row) {
    int position = firstPosition + row % tileRows;
    return block.tokensBefore(VisiblePages.windowStart(position, window));
  }

  /** One more than the last token of the block that the row sees. */
  private int seenTo(int row) {
    int position = firstPosition + row % tileRows;
    return block.positions[block.count - 1] <= position
        ? block.count
        : block.tokensBefore(position + 1);
  }

  /** Turns a row's scores into weights relative to its new maximum, and rescales its sums. */
  private void advance(int row) {
    int at = row * KeyBlock.KEY_STRIDE;
    int from = seenFrom(row);
    int to = seenTo(row);
    if (from >= to) {
      Arrays.fill(scores, at, at + block.count, 0f);
      return;
    }
    float max = Math.max(maxima[row], kernels.maximum(scores, at + from, to - from));
    if (max != maxima[row]) {
      float factor = (float) Math.exp(maxima[row] - max);
      kernels.scale(sums, row * sumStride, headSize, factor);
      totals[row] *= factor;
      maxima[row] = max;
    }
    totals[row] += kernels.exponentials(scores, at + from, to - from, max);
    Arrays.fill(scores, at, at + from, 0f);
    Arrays.fill(scores, at + to, at + block.count, 0f);
  }

  private void finish(PrefillAttention.Item item, CpuActivations out) {
    for (int g = 0; g < group; g++) {
      for (int r = 0; r < tileRows; r++) {
        int row = g * tileRows + r;
        int target = item.segment().firstRow() + item.row() + r;
        int at = target * out.columns() + (item.head() * group + g) * headSize;
        float factor = totals[row] == 0 ? 0 : 1 / totals[row];
        kernels.scale(sums, row * sumStride, headSize, factor);
        System.arraycopy(sums, row * sumStride, out.values(), at, headSize);
      }
    }
  }

  /** Adds the final probabilities of the block's tokens to the sums of their pages. */
  private void addMass(float[] masses, int offset) {
    Arrays.fill(tokenMass, 0f);
    for (int row = 0; row < group * tileRows; row++) {
      int from = seenFrom(row);
      int count = seenTo(row) - from;
      if (count > 0) {
        int at = row * KeyBlock.KEY_STRIDE + from;
        kernels.exponentials(scores, at, count, maxima[row]);
        kernels.addScaled(tokenMass, from, scores, at, count, 1 / totals[row]);
      }
    }
    for (int t = 0; t < block.count; t++) {
      masses[offset + block.pageOf[t]] += tokenMass[t];
    }
  }

  private static float[] ensured(float[] array, int size) {
    int wanted = size + AttentionKernels.SLACK;
    return array.length >= wanted ? array : new float[wanted];
  }
}
