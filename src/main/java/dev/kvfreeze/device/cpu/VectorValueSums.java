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
    boolean f32 = layout.format() == KvFormat.F32;
    int g = 0;
    while (g < group) {
      int left = group - g;
      int heads = f32 || left < 3 ? 1 : left == 3 ? 3 : 4;
      int at = g * stride + base;
      int to = g * width;
      int word = 0;
      for (; word + LANES < words; word += 2 * LANES) {
        int step = Math.min(LANES, words - LANES - word);
        int row = offset + word;
        int target = to + word;
        if (heads == 4) {
          sum4x2(slab, row, words, step, count, weights, at, stride, panel, target, width);
        } else if (heads == 3) {
          sum3x2(slab, row, words, step, count, weights, at, stride, panel, target, width);
        } else if (f32) {
          sum1x2F32(slab, row, words, step, count, weights, at, panel, target);
        } else {
          sum1x2(slab, row, words, step, count, weights, at, panel, target, width);
        }
      }
      if (word < words) {
        int row = offset + Math.min(word, words - LANES);
        int target = to + word;
        if (heads == 4) {
          sum4x1(slab, row, words, count, weights, at, stride, panel, target, width);
        } else if (heads == 3) {
          sum3x1(slab, row, words, count, weights, at, stride, panel, target, width);
        } else if (f32) {
          sum1x1F32(slab, row, words, count, weights, at, panel, target);
        } else {
          sum1x1(slab, row, words, count, weights, at, panel, target, width);
        }
      }
      g += heads;
    }
  }

  private static void sum1x2(
      int[] v,
      int offset,
      int words,
      int step,
      int count,
      float[] p,
      int at,
      float[] panel,
      int to,
      int width) {
    int half = width >> 1;
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector h00 = FloatVector.fromArray(FLOATS, panel, to + half);
    FloatVector l01 = FloatVector.fromArray(FLOATS, panel, to + LANES);
    FloatVector h01 = FloatVector.fromArray(FLOATS, panel, to + half + LANES);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l00 = p0.lanewise(FMA, x0, l00);
      h00 = p0.lanewise(FMA, y0, h00);
      IntVector w1 = IntVector.fromArray(INTS, v, row + step);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l01 = p0.lanewise(FMA, x1, l01);
      h01 = p0.lanewise(FMA, y1, h01);
    }
    l00.intoArray(panel, to);
    h00.intoArray(panel, to + half);
    l01.intoArray(panel, to + LANES);
    h01.intoArray(panel, to + half + LANES);
  }

  private static void sum1x1(
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
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector h00 = FloatVector.fromArray(FLOATS, panel, to + half);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l00 = p0.lanewise(FMA, x0, l00);
      h00 = p0.lanewise(FMA, y0, h00);
    }
    l00.intoArray(panel, to);
    h00.intoArray(panel, to + half);
  }

  private static void sum3x2(
      int[] v,
      int offset,
      int words,
      int step,
      int count,
      float[] p,
      int at,
      int stride,
      float[] panel,
      int to,
      int width) {
    int half = width >> 1;
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector h00 = FloatVector.fromArray(FLOATS, panel, to + half);
    FloatVector l01 = FloatVector.fromArray(FLOATS, panel, to + LANES);
    FloatVector h01 = FloatVector.fromArray(FLOATS, panel, to + half + LANES);
    FloatVector l10 = FloatVector.fromArray(FLOATS, panel, to + width);
    FloatVector h10 = FloatVector.fromArray(FLOATS, panel, to + width + half);
    FloatVector l11 = FloatVector.fromArray(FLOATS, panel, to + width + LANES);
    FloatVector h11 = FloatVector.fromArray(FLOATS, panel, to + width + half + LANES);
    FloatVector l20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width);
    FloatVector h20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half);
    FloatVector l21 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + LANES);
    FloatVector h21 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half + LANES);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      FloatVector p1 = FloatVector.broadcast(FLOATS, p[at + stride + t]);
      FloatVector p2 = FloatVector.broadcast(FLOATS, p[at + 2 * stride + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l00 = p0.lanewise(FMA, x0, l00);
      l10 = p1.lanewise(FMA, x0, l10);
      l20 = p2.lanewise(FMA, x0, l20);
      h00 = p0.lanewise(FMA, y0, h00);
      h10 = p1.lanewise(FMA, y0, h10);
      h20 = p2.lanewise(FMA, y0, h20);
      IntVector w1 = IntVector.fromArray(INTS, v, row + step);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l01 = p0.lanewise(FMA, x1, l01);
      l11 = p1.lanewise(FMA, x1, l11);
      l21 = p2.lanewise(FMA, x1, l21);
      h01 = p0.lanewise(FMA, y1, h01);
      h11 = p1.lanewise(FMA, y1, h11);
      h21 = p2.lanewise(FMA, y1, h21);
    }
    l00.intoArray(panel, to);
    h00.intoArray(panel, to + half);
    l01.intoArray(panel, to + LANES);
    h01.intoArray(panel, to + half + LANES);
    l10.intoArray(panel, to + width);
    h10.intoArray(panel, to + width + half);
    l11.intoArray(panel, to + width + LANES);
    h11.intoArray(panel, to + width + half + LANES);
    l20.intoArray(panel, to + 2 * width);
    h20.intoArray(panel, to + 2 * width + half);
    l21.intoArray(panel, to + 2 * width + LANES);
    h21.intoArray(panel, to + 2 * width + half + LANES);
  }

  private static void sum3x1(
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
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector h00 = FloatVector.fromArray(FLOATS, panel, to + half);
    FloatVector l10 = FloatVector.fromArray(FLOATS, panel, to + width);
    FloatVector h10 = FloatVector.fromArray(FLOATS, panel, to + width + half);
    FloatVector l20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width);
    FloatVector h20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      FloatVector p1 = FloatVector.broadcast(FLOATS, p[at + stride + t]);
      FloatVector p2 = FloatVector.broadcast(FLOATS, p[at + 2 * stride + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l00 = p0.lanewise(FMA, x0, l00);
      l10 = p1.lanewise(FMA, x0, l10);
      l20 = p2.lanewise(FMA, x0, l20);
      h00 = p0.lanewise(FMA, y0, h00);
      h10 = p1.lanewise(FMA, y0, h10);
      h20 = p2.lanewise(FMA, y0, h20);
    }
    l00.intoArray(panel, to);
    h00.intoArray(panel, to + half);
    l10.intoArray(panel, to + width);
    h10.intoArray(panel, to + width + half);
    l20.intoArray(panel, to + 2 * width);
    h20.intoArray(panel, to + 2 * width + half);
  }

  private static void sum4x2(
      int[] v,
      int offset,
      int words,
      int step,
      int count,
      float[] p,
      int at,
      int stride,
      float[] panel,
      int to,
      int width) {
    int half = width >> 1;
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector h00 = FloatVector.fromArray(FLOATS, panel, to + half);
    FloatVector l01 = FloatVector.fromArray(FLOATS, panel, to + LANES);
    FloatVector h01 = FloatVector.fromArray(FLOATS, panel, to + half + LANES);
    FloatVector l10 = FloatVector.fromArray(FLOATS, panel, to + width);
    FloatVector h10 = FloatVector.fromArray(FLOATS, panel, to + width + half);
    FloatVector l11 = FloatVector.fromArray(FLOATS, panel, to + width + LANES);
    FloatVector h11 = FloatVector.fromArray(FLOATS, panel, to + width + half + LANES);
    FloatVector l20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width);
    FloatVector h20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half);
    FloatVector l21 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + LANES);
    FloatVector h21 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half + LANES);
    FloatVector l30 = FloatVector.fromArray(FLOATS, panel, to + 3 * width);
    FloatVector h30 = FloatVector.fromArray(FLOATS, panel, to + 3 * width + half);
    FloatVector l31 = FloatVector.fromArray(FLOATS, panel, to + 3 * width + LANES);
    FloatVector h31 = FloatVector.fromArray(FLOATS, panel, to + 3 * width + half + LANES);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      FloatVector p1 = FloatVector.broadcast(FLOATS, p[at + stride + t]);
      FloatVector p2 = FloatVector.broadcast(FLOATS, p[at + 2 * stride + t]);
      FloatVector p3 = FloatVector.broadcast(FLOATS, p[at + 3 * stride + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l00 = p0.lanewise(FMA, x0, l00);
      l10 = p1.lanewise(FMA, x0, l10);
      l20 = p2.lanewise(FMA, x0, l20);
      l30 = p3.lanewise(FMA, x0, l30);
      h00 = p0.lanewise(FMA, y0, h00);
      h10 = p1.lanewise(FMA, y0, h10);
      h20 = p2.lanewise(FMA, y0, h20);
      h30 = p3.lanewise(FMA, y0, h30);
      IntVector w1 = IntVector.fromArray(INTS, v, row + step);
      FloatVector x1 = w1.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y1 = w1.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l01 = p0.lanewise(FMA, x1, l01);
      l11 = p1.lanewise(FMA, x1, l11);
      l21 = p2.lanewise(FMA, x1, l21);
      l31 = p3.lanewise(FMA, x1, l31);
      h01 = p0.lanewise(FMA, y1, h01);
      h11 = p1.lanewise(FMA, y1, h11);
      h21 = p2.lanewise(FMA, y1, h21);
      h31 = p3.lanewise(FMA, y1, h31);
    }
    l00.intoArray(panel, to);
    h00.intoArray(panel, to + half);
    l01.intoArray(panel, to + LANES);
    h01.intoArray(panel, to + half + LANES);
    l10.intoArray(panel, to + width);
    h10.intoArray(panel, to + width + half);
    l11.intoArray(panel, to + width + LANES);
    h11.intoArray(panel, to + width + half + LANES);
    l20.intoArray(panel, to + 2 * width);
    h20.intoArray(panel, to + 2 * width + half);
    l21.intoArray(panel, to + 2 * width + LANES);
    h21.intoArray(panel, to + 2 * width + half + LANES);
    l30.intoArray(panel, to + 3 * width);
    h30.intoArray(panel, to + 3 * width + half);
    l31.intoArray(panel, to + 3 * width + LANES);
    h31.intoArray(panel, to + 3 * width + half + LANES);
  }

  private static void sum4x1(
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
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector h00 = FloatVector.fromArray(FLOATS, panel, to + half);
    FloatVector l10 = FloatVector.fromArray(FLOATS, panel, to + width);
    FloatVector h10 = FloatVector.fromArray(FLOATS, panel, to + width + half);
    FloatVector l20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width);
    FloatVector h20 = FloatVector.fromArray(FLOATS, panel, to + 2 * width + half);
    FloatVector l30 = FloatVector.fromArray(FLOATS, panel, to + 3 * width);
    FloatVector h30 = FloatVector.fromArray(FLOATS, panel, to + 3 * width + half);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      FloatVector p1 = FloatVector.broadcast(FLOATS, p[at + stride + t]);
      FloatVector p2 = FloatVector.broadcast(FLOATS, p[at + 2 * stride + t]);
      FloatVector p3 = FloatVector.broadcast(FLOATS, p[at + 3 * stride + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      FloatVector x0 = w0.lanewise(LSHL, 16).reinterpretAsFloats();
      FloatVector y0 = w0.lanewise(AND, HIGH_HALF).reinterpretAsFloats();
      l00 = p0.lanewise(FMA, x0, l00);
      l10 = p1.lanewise(FMA, x0, l10);
      l20 = p2.lanewise(FMA, x0, l20);
      l30 = p3.lanewise(FMA, x0, l30);
      h00 = p0.lanewise(FMA, y0, h00);
      h10 = p1.lanewise(FMA, y0, h10);
      h20 = p2.lanewise(FMA, y0, h20);
      h30 = p3.lanewise(FMA, y0, h30);
    }
    l00.intoArray(panel, to);
    h00.intoArray(panel, to + half);
    l10.intoArray(panel, to + width);
    h10.intoArray(panel, to + width + half);
    l20.intoArray(panel, to + 2 * width);
    h20.intoArray(panel, to + 2 * width + half);
    l30.intoArray(panel, to + 3 * width);
    h30.intoArray(panel, to + 3 * width + half);
  }

  private static void sum1x2F32(
      int[] v,
      int offset,
      int words,
      int step,
      int count,
      float[] p,
      int at,
      float[] panel,
      int to) {
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    FloatVector l01 = FloatVector.fromArray(FLOATS, panel, to + LANES);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      l00 = p0.lanewise(FMA, w0.reinterpretAsFloats(), l00);
      IntVector w1 = IntVector.fromArray(INTS, v, row + step);
      l01 = p0.lanewise(FMA, w1.reinterpretAsFloats(), l01);
    }
    l00.intoArray(panel, to);
    l01.intoArray(panel, to + LANES);
  }

  private static void sum1x1F32(
      int[] v, int offset, int words, int count, float[] p, int at, float[] panel, int to) {
    FloatVector l00 = FloatVector.fromArray(FLOATS, panel, to);
    for (int t = 0; t < count; t++) {
      int row = offset + t * words;
      FloatVector p0 = FloatVector.broadcast(FLOATS, p[at + t]);
      IntVector w0 = IntVector.fromArray(INTS, v, row);
      l00 = p0.lanewise(FMA, w0.reinterpretAsFloats(), l00);
    }
    l00.intoArray(panel, to);
  }
}
