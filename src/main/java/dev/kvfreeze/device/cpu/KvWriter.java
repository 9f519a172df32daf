package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.List;

/** Writes the keys and values of rows into their pages, rounding to the pages' format. */
final class KvWriter {
  /** Values below which a parallel region costs more than it gains. */
  private static final int PARALLEL_VALUES = 1 << 15;

  /** Neighbouring tokens from which on a call of native code pays. */
  private static final int NATIVE_TOKENS = 3;

  private final WorkerPool pool;
  private final boolean natively;

  KvWriter(WorkerPool pool, NativeLevel level) {
    this.pool = pool;
    this.natively = level != NativeLevel.NONE;
  }

  /** See {@link dev.kvfreeze.device.Device#writeKv}. */
  void write(
      CpuActivations keys,
      CpuActivations values,
      AttentionShape shape,
      CpuPageMemory memory,
      List<AttentionSegment> segments) {
    int kvHeads = shape.kvHeads();
    int rows = 0;
    for (AttentionSegment segment : segments) {
      rows += segment.rowCount();
    }
    int items = segments.size() * kvHeads;
    boolean small = (long) rows * kvHeads * shape.headSize() < PARALLEL_VALUES;
    pool.parallelFor(
        items,
        small ? Math.max(1, items) : 1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            writeHead(keys, values, memory, segments.get(i / kvHeads), i % kvHeads);
          }
        });
  }

  private void writeHead(
      CpuActivations keys,
      CpuActivations values,
      CpuPageMemory memory,
      AttentionSegment segment,
      int head) {
    if (segment.rowCount() == 0) {
      return;
    }
    HeadPages pages = segment.heads()[head];
    PageLayout layout = memory.layout();
    int page = pageOf(pages, segment.firstPosition(), head);
    for (int r = 0; r < segment.rowCount(); ) {
      int position = segment.firstPosition() + r;
      while (position >= pages.firstPositions[page] + pages.tokenCounts[page]) {
        page = following(pages, page, position, head);
      }
      int token = position - pages.firstPositions[page];
      int tokens = Math.min(segment.rowCount() - r, pages.tokenCounts[page] - token);
      int slot = pages.slots[page];
      int row = segment.firstRow() + r;
      int column = head * layout.headSize();
      writePage(
          keys, values, row, column, tokens, memory.slab(slot), memory.offset(slot), layout, token);
      r += tokens;
    }
  }

  private void writePage(
      CpuActivations keys,
      CpuActivations values,
      int firstRow,
      int column,
      int tokens,
      int[] slab,
      int offset,
      PageLayout layout,
      int firstToken) {
    int keyAt = firstRow * keys.columns() + column;
    int valueAt = firstRow * values.columns() + column;
    float[] key = keys.values();
    float[] value = values.values();
    if (natively && tokens >= NATIVE_TOKENS) {
      NativeElementwise.writePage(
          key,
          keyAt,
          keys.columns(),
          value,
          valueAt,
          values.columns(),
          tokens,
          layout,
          slab,
          offset,
          firstToken);
      return;
    }
    int words = layout.wordsPerToken();
    for (int i = 0; i < tokens; i++) {
      int token = firstToken + i;
      int keysAt = offset + token;
      int valuesAt = offset + layout.valueOffset() + token * words;
      encode(key, keyAt + i * keys.columns(), layout, slab, keysAt, layout.pageTokens());
      encode(value, valueAt + i * values.columns(), layout, slab, valuesAt, 1);
    }
  }

  private static int pageOf(HeadPages pages, int position, int head) {
    // The rows' pages are the last ones.
    int page = pages.count - 1;
    while (page >= 0 && pages.firstPositions[page] > position) {
      page--;
    }
    if (page < 0 || position >= pages.firstPositions[page] + pages.tokenCounts[page]) {
      throw uncovered(position, head);
    }
    return page;
  }

  private static int following(HeadPages pages, int page, int position, int head) {
    int next = page + 1;
    if (next >= pages.count || pages.firstPositions[next] > position) {
      throw uncovered(position, head);
    }
    return next;
  }

  private static IllegalStateException uncovered(int position, int head) {
    return new IllegalStateException(
        "no page of KV head "
            + head
            + " covers position "
            + position
            + "; the cache must allocate a pass's pages before the pass");
  }

  /** Stores one token's key or value, its words {@code stride} apart. */
  private static void encode(
      float[] x, int at, PageLayout layout, int[] slab, int offset, int stride) {
    int words = layout.valueWords();
    if (layout.format() == KvFormat.F32) {
      for (int j = 0; j < words; j++) {
        slab[offset + j * stride] = Float.floatToRawIntBits(x[at + j]);
      }
      return;
    }
    if (layout.format() == KvFormat.INT8) {
      encodeBytes(x, at, layout, slab, offset, stride);
      return;
    }
    for (int j = 0; j < words; j++) {
      int low = Bfloat16.bits(x[at + j]) & 0xffff;
      slab[offset + j * stride] = low | Bfloat16.bits(x[at + j + words]) << 16;
    }
  }

  /** Groups of words, each with its scale; see {@link PageLayout}. */
  private static void encodeBytes(
      float[] x, int at, PageLayout layout, int[] slab, int offset, int stride) {
    int words = layout.valueWords();
    for (int j = 0; j < words + KvFormat.INT8.scaleWords(); j++) {
      slab[offset + j * stride] = 0;
    }
    int from = 0;
    while (from < words) {
      int group = layout.scaleGroup(from);
      int to = from + 1;
      while (to < words && layout.scaleGroup(to) == group) {
        to++;
      }
      encodeGroup(x, at, words, from, to, group, slab, offset, stride);
      from = to;
    }
  }

  private static void encodeGroup(
      float[] x,
      int at,
      int words,
      int from,
      int to,
      int group,
      int[] slab,
      int offset,
      int stride) {
    float largest = 0;
    for (int part = 0; part < 4; part++) {
      for (int j = from; j < to; j++) {
        largest = Math.max(largest, Math.abs(x[at + part * words + j]));
      }
    }
    float step = Float.isNaN(largest) ? Float.NaN : largest / Byte.MAX_VALUE;
    int bits = Bfloat16.bits(step) & 0xffff;
    float scale = Bfloat16.low(bits);
    // Below the smallest normal number a quotient would overflow.
    float inverse = scale < Float.MIN_NORMAL ? 0 : 1 / scale;
    slab[offset + (words + group / 2) * stride] |= bits << group % 2 * 16;
    for (int part = 0; part < 4; part++) {
      for (int j = from; j < to; j++) {
        int number = (int) Math.rint(x[at + part * words + j] * inverse);
        int held = Math.max(-Byte.MAX_VALUE, Math.min(Byte.MAX_VALUE, number));
        slab[offset + j * stride] |= (held & 0xff) << 8 * part;
      }
    }
  }
}
