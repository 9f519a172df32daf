package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.FLOATS;
import static dev.kvfreeze.device.cpu.VectorMath.INTS;
import static dev.kvfreeze.device.cpu.VectorMath.LANES;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.MAX;
import static jdk.incubator.vector.VectorOperators.MUL;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * Attention arithmetic by vector. Heads too small for a register go to the scalar twin, and so do
 * 8-bit pages, whose fast kernels are in C.
 */
final class VectorAttentionKernels implements AttentionKernels {
  private static final int HIGH_HALF = 0xffff0000;

  private final AttentionKernels scalar = new ScalarAttentionKernels();

  @Override
  public void scores(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    if (isScalar(memory.layout())) {
      scalar.scores(memory, pages, from, to, queries, group, scores, stride);
    } else {
      VectorKeyScores.scores(memory, pages, from, to, queries, group, scores, stride);
    }
  }

  @Override
  public void weightedValues(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] weights,
      int group,
      int stride,
      float[] panel,
      float[] sums) {
    if (isScalar(memory.layout())) {
      scalar.weightedValues(memory, pages, from, to, weights, group, stride, panel, sums);
    } else {
      VectorValueSums.weightedValues(memory, pages, from, to, weights, group, stride, panel, sums);
    }
  }

  /** A register loaded at any key or value of a page must end within the page. */
  private static boolean isScalar(PageLayout layout) {
    return layout.format() == KvFormat.INT8 || layout.wordsPerToken() < LANES;
  }

  @Override
  public float maximum(float[] x, int offset, int count) {
    if (count < LANES) {
      return scalar.maximum(x, offset, count);
    }
    FloatVector max = FloatVector.fromArray(FLOATS, x, offset);
    int i = LANES;
    for (; i <= count - LANES; i += LANES) {
      max = FloatVector.fromArray(FLOATS, x, offset + i).lanewise(MAX, max);
    }
    // The last register may overlap: a maximum does not mind.
    return FloatVector.fromArray(FLOATS, x, offset + count - LANES)
        .lanewise(MAX, max)
        .reduceLanes(MAX);
  }

  @Override
  public float exponentials(float[] x, int offset, int count, float max) {
    int whole = count - count % LANES;
    float total = VectorExponentials.ofDifferences(x, offset, whole, max);
    for (int i = whole; i < count; i++) {
      x[offset + i] = VectorMath.expNegative(max - x[offset + i]);
      total += x[offset + i];
    }
    return total;
  }

  @Override
  public void scale(float[] x, int offset, int count, float factor) {
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    int i = 0;
    for (; i <= count - LANES; i += LANES) {
      FloatVector.fromArray(FLOATS, x, offset + i).lanewise(MUL, factors).intoArray(x, offset + i);
    }
    for (; i < count; i++) {
      x[offset + i] *= factor;
    }
  }

  @Override
  public void addScaled(float[] y, int yOffset, float[] x, int xOffset, int count, float factor) {
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    int i = 0;
    for (; i <= count - LANES; i += LANES) {
      FloatVector.fromArray(FLOATS, x, xOffset + i)
          .lanewise(FMA, factors, FloatVector.fromArray(FLOATS, y, yOffset + i))
          .intoArray(y, yOffset + i);
    }
    for (; i < count; i++) {
      y[yOffset + i] = Math.fma(x[xOffset + i], factor, y[yOffset + i]);
    }
  }

  @Override
  public void packKeys(
      CpuPageMemory memory,
      int slot,
      int fromToken,
      int count,
      float[] panel,
      int column,
      int stride) {
    PageLayout layout = memory.layout();
    if (layout.pageTokens() == 1 && layout.format() == KvFormat.BF16) {
      decodeSingle(memory.slab(slot), memory.offset(slot), layout, panel, column, stride);
      return;
    }
    // A few tokens of a page would waste most of each register.
    if (isScalar(layout) || layout.pageTokens() * 4 < LANES) {
      scalar.packKeys(memory, slot, fromToken, count, panel, column, stride);
      return;
    }
    int[] slab = memory.slab(slot);
    int offset = memory.offset(slot) + fromToken;
    for (int t = 0; t < count; t += LANES) {
      if (column + t + LANES > stride) {
        scalar.packKeys(memory, slot, fromToken + t, count - t, panel, column + t, stride);
      } else if (layout.format() == KvFormat.F32) {
        decodeColumnF32(layout, slab, offset + t, panel, column + t, stride);
      } else {
        decodeColumn(layout, slab, offset + t, panel, column + t, stride);
      }
    }
  }

  private static void decodeSingle(
      int[] slab, int offset, PageLayout layout, float[] panel, int column, int stride) {
    int words = layout.wordsPerToken();
    int high = words * stride;
    for (int j = 0; j < words; j++) {
      int word = slab[offset + j];
      panel[column + j * stride] = Bfloat16.low(word);
      panel[column + j * stride + high] = Bfloat16.high(word);
    }
  }

  private static void decodeColumn(
      PageLayout layout, int[] slab, int offset, float[] panel, int column, int stride) {
    int words = layout.wordsPerToken();
    int tokens = layout.pageTokens();
    int high = words * stride;
    for (int j = 0; j < words; j++) {
      IntVector w = IntVector.fromArray(INTS, slab, offset + j * tokens);
      w.lanewise(LSHL, 16).reinterpretAsFloats().intoArray(panel, column + j * stride);
      w.lanewise(AND, HIGH_HALF).reinterpretAsFloats().intoArray(panel, column + j * stride + high);
    }
  }

  private static void decodeColumnF32(
      PageLayout layout, int[] slab, int offset, float[] panel, int column, int stride) {
    int words = layout.wordsPerToken();
    int tokens = layout.pageTokens();
    for (int j = 0; j < words; j++) {
      IntVector.fromArray(INTS, slab, offset + j * tokens)
          .reinterpretAsFloats()
          .intoArray(panel, column + j * stride);
    }
  }

  @Override
  public void packValues(
      CpuPageMemory memory,
      int slot,
      int fromToken,
      int count,
      float[] panel,
      int panelOffset,
      int stride) {
    PageLayout layout = memory.layout();
    int words = layout.wordsPerToken();
    if (isScalar(layout)) {
      scalar.packValues(memory, slot, fromToken, count, panel, panelOffset, stride);
      return;
    }
    int[] slab = memory.slab(slot);
    int offset = memory.offset(slot) + layout.valueOffset() + fromToken * words;
    for (int t = 0; t < count; t++) {
      if (layout.format() == KvFormat.F32) {
        for (int d = 0; d < words; d++) {
          panel[panelOffset + t * stride + d] = Float.intBitsToFloat(slab[offset + t * words + d]);
        }
      } else {
        decodeRow(slab, offset + t * words, words, panel, panelOffset + t * stride);
      }
    }
  }

  private static void decodeRow(int[] slab, int offset, int words, float[] panel, int to) {
    for (int j = 0; j < words; j += LANES) {
      int word = Math.min(j, words - LANES);
      IntVector w = IntVector.fromArray(INTS, slab, offset + word);
      w.lanewise(LSHL, 16).reinterpretAsFloats().intoArray(panel, to + word);
      w.lanewise(AND, HIGH_HALF).reinterpretAsFloats().intoArray(panel, to + words + word);
    }
  }

  @Override
  public void multiply(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth) {
    VectorBlockProduct.multiply(a, aStride, b, bOffset, bStride, c, cStride, rows, columns, depth);
  }

  @Override
  public void multiplyAdd(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth) {
    VectorBlockProduct.multiplyAdd(
        a, aStride, b, bOffset, bStride, c, cStride, rows, columns, depth);
  }
}
