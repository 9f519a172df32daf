package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.FLOATS;
import static dev.kvfreeze.device.cpu.VectorMath.INTS;
import static dev.kvfreeze.device.cpu.VectorMath.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** Dot products of decode over pages of one token, whose keys are rows. */
final class VectorRowScores {
  private static final int HIGH_HALF = 0xffff0000;

  private VectorRowScores() {}

  /** See {@link AttentionKernels#scores}; rows have at least one register of words. */
  static void scores(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    PageLayout layout = memory.layout();
    int words = layout.wordsPerToken();
    int base = 0;
    for (int page = from; page < to; page++) {
      if (pages.tokenCounts[page] == 0) {
        continue;
      }
      int[] slab = memory.slab(pages.slots[page]);
      int offset = memory.offset(pages.slots[page]);
      for (int g = 0; g < group; g++) {
        scores[g * stride + base] =
            layout.format() == KvFormat.F32
                ? dotF32(slab, offset, words, queries, g * words)
                : dot(slab, offset, words, queries, g * 2 * words);
      }
      base++;
    }
  }

  private static float dot(int[] slab, int offset, int words, float[] q, int at) {
    FloatVector low = FloatVector.zero(FLOATS);
    FloatVector high = FloatVector.zero(FLOATS);
    int j = 0;
    for (; j <= words - LANES; j += LANES) {
      IntVector w = IntVector.fromArray(INTS, slab, offset + j);
      FloatVector ql = FloatVector.fromArray(FLOATS, q, at + j);
      FloatVector qh = FloatVector.fromArray(FLOATS, q, at + words + j);
      low = ql.lanewise(FMA, w.lanewise(LSHL, 16).reinterpretAsFloats(), low);
      high = qh.lanewise(FMA, w.lanewise(AND, HIGH_HALF).reinterpretAsFloats(), high);
    }
    float sum = low.lanewise(ADD, high).reduceLanes(ADD);
    for (; j < words; j++) {
      int word = slab[offset + j];
      sum = Math.fma(q[at + j], Bfloat16.low(word), sum);
      sum = Math.fma(q[at + words + j], Bfloat16.high(word), sum);
    }
    return sum;
  }

  private static float dotF32(int[] slab, int offset, int words, float[] q, int at) {
    FloatVector sums = FloatVector.zero(FLOATS);
    int j = 0;
    for (; j <= words - LANES; j += LANES) {
      IntVector w = IntVector.fromArray(INTS, slab, offset + j);
      FloatVector x = FloatVector.fromArray(FLOATS, q, at + j);
      sums = x.lanewise(FMA, w.reinterpretAsFloats(), sums);
    }
    float sum = sums.reduceLanes(ADD);
    for (; j < words; j++) {
      sum = Math.fma(q[at + j], Float.intBitsToFloat(slab[offset + j]), sum);
    }
    return sum;
  }
}
