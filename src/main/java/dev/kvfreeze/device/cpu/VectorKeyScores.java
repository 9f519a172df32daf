package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.LANES;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;

/**
 * Dot products of decode over transposed keys, four registers of tokens at a time. The lanes of a
 * register beyond a page's tokens compute rubbish that the next page's scores overwrite; where
 * fewer than four registers are left, the last one is repeated.
 */
final class VectorKeyScores {
  private static final int BLOCKS = 4;

  private final CpuPageMemory memory;
  private final HeadPages pages;
  private final float[] queries;
  private final int group;
  private final float[] scores;
  private final int stride;
  private final VectorKeyQuad quad;

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
    quad = new VectorKeyQuad(memory.layout());
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
    int page = from;
    while (page < to) {
      int next = token;
      for (int block = 0; block < BLOCKS; block++) {
        if (block > 0 && page < to - 1) {
          page++;
          token = next;
        }
        int slot = pages.slots[page];
        quad.set(block, memory.slab(slot), memory.offset(slot), token);
        next = token + pages.tokenCounts[page];
      }
      dotProducts();
      page++;
      token = next;
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
      for (int t = 0; t < count; t += BLOCKS * LANES) {
        for (int block = 0; block < BLOCKS; block++) {
          int token = Math.min(t + block * LANES, last);
          quad.set(block, slab, offset + token, base + token);
        }
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
        quad.oneFloat32(queries, at, scores, row);
        g++;
      } else if (group - g >= 4) {
        quad.four(queries, at, scores, row, stride);
        g += 4;
      } else if (group - g == 3) {
        quad.three(queries, at, scores, row, stride);
        g += 3;
      } else {
        quad.one(queries, at, scores, row);
        g++;
      }
    }
  }
}
