package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.FLOATS;
import static dev.kvfreeze.device.cpu.VectorMath.INTS;
import static dev.kvfreeze.device.cpu.VectorMath.LANES;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * Weighted sums of values in decode. A row of words is cut into registers, the last of which may
 * overlap the one before; the sums lie in a panel by register, so that no word is counted twice. Up
 * to four heads share the loads.
 */
final class VectorValueSums {
  private static final int HIGH_HALF = 0xffff0000;

  private VectorValueSums() {}

  /** See {@link AttentionKernels#weightedValues}; rows have at least one register of words. */
  static void weightedValues(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] weights,
      int group,
      int stride,
      float[] panel,
      float[] sums) {
    PageLayout layout = memory.layout();
    int words = layout.wordsPerToken();
    int registers = (words + LANES - 1) / LANES;
    int width = registers * LANES * layout.format().valuesPerWord();
    Arrays.fill(panel, 0, group * width, 0f);
    int base = 0;
    for (int page = from; page < to; page++) {
      int count = pages.tokenCounts[page];
      int[] slab = memory.slab(pages.slots[page]);
      int offset = memory.offset(pages.slots[page]) + layout.valueOffset();
      addPage(layout, slab, offset, count, weights, base, group, stride, panel, width);
      base += count;
    }
    for (int g = 0; g < group; g++) {
      for (int r = 0; r < registers; r++) {
        int word = Math.min(r * LANES, words - LANES);
        int at = g * width + r * LANES;
        int target = g * layout.headSize() + word;
        System.arraycopy(panel, at, sums, target, LANES);
        if (layout.format() == KvFormat.BF16) {
          System.arraycopy(panel, at + width / 2, sums, target + words, LANES);
        }
      }
    }
  }

  private static void addPage(
      PageLayout layout,
      int[] slab,
      int offset,
      int count,
      float[] weights,
      int base,
      int group,
      int stride,
      float[] panel,
      int width) {
    int words = layout.wordsPerToken();
    boolean float32 = layout.format() == KvFormat.F32;
    int g = 0;
    while (g < group) {
      int left = group - g;
      int heads = float32 || left < 3 ? 1 : left == 3 ? 3 : 4;
      int at = g * stride + base;
      // One register of words at a time: with two the methods are too long to be inlined to their
      // end, and their last vectors are boxed by JDK 17 in some runs.
      for (int word = 0; word < words; word += LANES) {
        int row = offset + Math.min(word, words - LANES);
        int to = g * width + word;
        if (float32) {
          sumFloat32(slab, row, words, count, weights, at, panel, to);
        } else if (heads == 4) {
          sumFour(slab, row, words, count, weights, at, stride, panel, to, width);
        } else if (heads == 3) {
          sumThree(slab, row, words, count, weights, at, stride, panel, to, width);
        } else {
          sumOne(slab, row, words, count, weights, at, panel, to, width);
        }
      }
      g += heads;
    }
  }

  private static void sumOne(
      int[] v,
      int offset,
      int words,
      int count,
      float[] p,
      int at,
      float[] panel,
      int to,
      int width) {
    int half = width >> 1;
    FloatVector low0 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector high0 = FloatVector.fromArray(FLOATS, panel, to + half);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      IntVector both = IntVector.fromArray(INTS, v, row);
      FloatVector low = both.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector high = both.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      low0 = p0.lanewise(FMA, low, low0);
      high0 = p0.lanewise(FMA, high, high0);
    }
    low0.intoArray(panel, to);
    high0.intoArray(panel, to + half);
  }

  private static void sumThree(
      int[] v,
      int offset,
      int words,
      int count,
      float[] p,
      int at,
      int stride,
      float[] panel,
      int to,
      int width) {
    int half = width >> 1;
    FloatVector low0 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector high0 = FloatVector.fromArray(FLOATS, panel, to + half);
    FloatVector low1 = FloatVector.fromArray(FLOATS, panel, to + width);
    FloatVector high1 = FloatVector.fromArray(FLOATS, panel, to + width + half);
    FloatVector low2 = FloatVector.fromArray(FLOATS, panel, to + 2 * width);
    FloatVector high2 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      FloatVector p1 = FloatVector.broadcast(FLOATS, p[at + stride + t]);
      FloatVector p2 = FloatVector.broadcast(FLOATS, p[at + 2 * stride + t]);
      IntVector both = IntVector.fromArray(INTS, v, row);
      FloatVector low = both.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector high = both.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      low0 = p0.lanewise(FMA, low, low0);
      low1 = p1.lanewise(FMA, low, low1);
      low2 = p2.lanewise(FMA, low, low2);
      high0 = p0.lanewise(FMA, high, high0);
      high1 = p1.lanewise(FMA, high, high1);
      high2 = p2.lanewise(FMA, high, high2);
    }
    low0.intoArray(panel, to);
    high0.intoArray(panel, to + half);
    low1.intoArray(panel, to + width);
    high1.intoArray(panel, to + width + half);
    low2.intoArray(panel, to + 2 * width);
    high2.intoArray(panel, to + 2 * width + half);
  }

  private static void sumFour(
      int[] v,
      int offset,
      int words,
      int count,
      float[] p,
      int at,
      int stride,
      float[] panel,
      int to,
      int width) {
    int half = width >> 1;
    FloatVector low0 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector high0 = FloatVector.fromArray(FLOATS, panel, to + half);
    FloatVector low1 = FloatVector.fromArray(FLOATS, panel, to + width);
    FloatVector high1 = FloatVector.fromArray(FLOATS, panel, to + width + half);
    FloatVector low2 = FloatVector.fromArray(FLOATS, panel, to + 2 * width);
    FloatVector high2 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half);
    FloatVector low3 = FloatVector.fromArray(FLOATS, panel, to + 3 * width);
    FloatVector high3 = FloatVector.fromArray(FLOATS, panel, to + 3 * width + half);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      FloatVector p1 = FloatVector.broadcast(FLOATS, p[at + stride + t]);
      FloatVector p2 = FloatVector.broadcast(FLOATS, p[at + 2 * stride + t]);
      FloatVector p3 = FloatVector.broadcast(FLOATS, p[at + 3 * stride + t]);
      IntVector both = IntVector.fromArray(INTS, v, row);
      FloatVector low = both.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector high = both.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      low0 = p0.lanewise(FMA, low, low0);
      low1 = p1.lanewise(FMA, low, low1);
      low2 = p2.lanewise(FMA, low, low2);
      low3 = p3.lanewise(FMA, low, low3);
      high0 = p0.lanewise(FMA, high, high0);
      high1 = p1.lanewise(FMA, high, high1);
      high2 = p2.lanewise(FMA, high, high2);
      high3 = p3.lanewise(FMA, high, high3);
    }
    low0.intoArray(panel, to);
    high0.intoArray(panel, to + half);
    low1.intoArray(panel, to + width);
    high1.intoArray(panel, to + width + half);
    low2.intoArray(panel, to + 2 * width);
    high2.intoArray(panel, to + 2 * width + half);
    low3.intoArray(panel, to + 3 * width);
    high3.intoArray(panel, to + 3 * width + half);
  }

  private static void sumFloat32(
      int[] v, int offset, int words, int count, float[] p, int at, float[] panel, int to) {
    FloatVector low0 = FloatVector.fromArray(FLOATS, panel, to);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      IntVector both = IntVector.fromArray(INTS, v, row);
      low0 = p0.lanewise(FMA, both.reinterpretAsFloats(), low0);
    }
    low0.intoArray(panel, to);
  }
}
