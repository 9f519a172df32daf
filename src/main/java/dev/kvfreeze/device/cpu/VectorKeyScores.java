package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.LANES;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;

/**
 * Dot products of decode over transposed keys, two registers of tokens at a time. The lanes of a
 * register beyond a page's tokens compute rubbish that the next page's scores overwrite; where one
 * register is left, it is taken twice.
 */
final class VectorKeyScores {
  private final CpuPageMemory memory;
  private final HeadPages pages;
  private final float[] queries;
  private final int group;
  private final float[] scores;
  private final int stride;
  private final VectorKeyPair pair;

  private VectorKeyScores(
      CpuPageMemory memory,
      HeadPages pages,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    this.memory = memory;
    this.pages = pages;
    this.queries = queries;
    this.group = group;
    this.scores = scores;
    this.stride = stride;
    pair = new VectorKeyPair(memory.layout());
  }

  /** See {@link AttentionKernels#scores}. */
  static void scores(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride) {
    VectorKeyScores run = new VectorKeyScores(memory, pages, queries, group, scores, stride);
    if (memory.layout().pageTokens() <= LANES) {
      run.smallPages(from, to);
    } else {
      run.largePages(from, to);
    }
  }

  /** Pages of one register each. */
  private void smallPages(int from, int to) {
    int token = 0;
    for (int page = from; page < to; page += 2) {
      int slot = pages.slots[page];
      pair.setFirst(memory.slab(slot), memory.offset(slot), token);
      if (page + 1 < to) {
        token += pages.tokenCounts[page];
        slot = pages.slots[page + 1];
      }
      pair.setSecond(memory.slab(slot), memory.offset(slot), token);
      dotProducts();
      if (page + 1 < to) {
        token += pages.tokenCounts[page + 1];
      }
    }
  }

  /** Pages of several registers each. */
  private void largePages(int from, int to) {
    int base = 0;
    for (int page = from; page < to; page++) {
      int count = pages.tokenCounts[page];
      int[] slab = memory.slab(pages.slots[page]);
      int offset = memory.offset(pages.slots[page]);
      int last = (count - 1) / LANES * LANES;
      for (int t = 0; t < count; t += 2 * LANES) {
        int next = Math.min(t + LANES, last);
        pair.setFirst(slab, offset + t, base + t);
        pair.setSecond(slab, offset + next, base + next);
        dotProducts();
      }
      base += count;
    }
  }

  private void dotProducts() {
    PageLayout layout = memory.layout();
    int headSize = layout.headSize();
    boolean float32 = layout.format() == KvFormat.F32;
    int g = 0;
    while (g < group) {
      int at = g * headSize;
      int row = g * stride;
      if (float32) {
        pair.oneFloat32(queries, at, scores, row);
        g++;
      } else if (group - g >= 4) {
        pair.four(queries, at, scores, row, stride);
        g += 4;
      } else if (group - g == 3) {
        pair.three(queries, at, scores, row, stride);
        g += 3;
      } else {
        pair.one(queries, at, scores, row);
        g++;
      }
    }
  }
}
