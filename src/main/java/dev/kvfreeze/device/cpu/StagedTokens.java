package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;

/**
 * Single-token pages of a run gathered into larger ones, so that the decode kernels find registers
 * of neighbouring tokens. The rows are copied first and transposed after: copies depend on nothing,
 * so many cache misses are under way at once. One thread's scratch.
 */
final class StagedTokens {
  private final CpuPageMemory memory;
  private final HeadPages pages = new HeadPages();
  private final int[] rows;

  /** Room for {@code tokens} tokens in pages of {@code pageTokens}. */
  StagedTokens(PageLayout layout, int pageTokens, int tokens) {
    PageLayout staged = new PageLayout(layout.headSize(), pageTokens, layout.format());
    int count = (tokens + pageTokens - 1) / pageTokens;
    memory = new CpuPageMemory(staged, (long) count * staged.pageBytes());
    memory.ensure(count);
    pages.ensure(count);
    for (int i = 0; i < count; i++) {
      pages.slots[i] = i;
    }
    rows = new int[pageTokens * staged.wordsPerToken()];
  }

  boolean fits(PageLayout layout) {
    return memory.layout().headSize() == layout.headSize()
        && memory.layout().format() == layout.format();
  }

  CpuPageMemory memory() {
    return memory;
  }

  HeadPages pages() {
    return pages;
  }

  /** Gathers the pages {@code [from, to)}, each of at most one token. */
  void gather(CpuPageMemory source, HeadPages sources, int from, int to) {
    pages.count = 0;
    int page = from;
    while (page < to) {
      page = fill(source, sources, page, to);
    }
  }

  /** Fills one page; returns the first source page not taken. */
  private int fill(CpuPageMemory source, HeadPages sources, int from, int to) {
    PageLayout layout = memory.layout();
    int words = layout.wordsPerToken();
    int limit = layout.pageTokens();
    int[] slab = memory.slab(pages.count);
    int offset = memory.offset(pages.count);
    int values = offset + layout.valueOffset();
    int token = 0;
    int page = from;
    for (; page < to && token < limit; page++) {
      if (sources.tokenCounts[page] == 0) {
        continue;
      }
      int[] sourceSlab = source.slab(sources.slots[page]);
      int at = source.offset(sources.slots[page]);
      System.arraycopy(sourceSlab, at, rows, token * words, words);
      System.arraycopy(sourceSlab, at + words, slab, values + token * words, words);
      token++;
    }
    transpose(token, words, slab, offset, limit);
    pages.tokenCounts[pages.count++] = token;
    return page;
  }

  private void transpose(int tokens, int words, int[] slab, int offset, int stride) {
    for (int t = 0; t < tokens; t++) {
      for (int j = 0; j < words; j++) {
        slab[offset + j * stride + t] = rows[t * words + j];
      }
    }
  }
}
