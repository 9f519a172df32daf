package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.List;

/**
 * Attention of single rows. The pages of a head are cut into parts of a fixed number of tokens, so
 * that a few heads still fill the threads and the result depends neither on their number nor on the
 * other rows; the parts' softmaxes are merged in order (split-KV, as in Flash-Decoding). The query
 * heads of a group share each load of keys and values.
 */
final class DecodeAttention {
  static final int PART_TOKENS = 256;

  /** Tokens of a part, and of a head, up to which short parts share the work more evenly. */
  private static final int SHORT_PART_TOKENS = 64;

  private static final int SHORT_TOKENS = 1024;

  /** At least a register of tokens at every vector width. */
  private static final int STAGED_PAGE_TOKENS = 16;

  /** Products of a query and a key below which a parallel region costs more than it gains. */
  private static final long PARALLEL_PRODUCTS = 1 << 16;

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final Scratch[] scratch;
  private Part[] parts = {};
  private float[] maxima = {};
  private float[] totals = {};
  private float[] sums = {};
  private float[] masses = {};

  DecodeAttention(WorkerPool pool, AttentionKernels kernels) {
    this.pool = pool;
    this.kernels = kernels;
    scratch = new Scratch[pool.threads()];
    for (int i = 0; i < scratch.length; i++) {
      scratch[i] = new Scratch();
    }
  }

  /** Attends the segments, each of one row. */
  void attend(
      CpuActivations queries,
      AttentionShape shape,
      CpuPageMemory memory,
      List<AttentionSegment> segments,
      CpuActivations out) {
    int group = shape.groupSize();
    int count = plan(shape, memory, segments);
    maxima = grown(maxima, count * group);
    totals = grown(totals, count * group);
    sums = grown(sums, count * group * shape.headSize());
    long products = 0;
    for (int i = 0; i < count; i++) {
      products += (long) parts[i].tokens * group * shape.headSize();
    }
    int grain = products < PARALLEL_PRODUCTS ? Math.max(1, count) : 1;
    pool.parallelFor(
        count,
        grain,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            attendPart(i, scratch[worker], queries, shape, memory);
          }
        });
    merge(count, shape, segments, out);
  }

  /** Fills {@link #parts} and returns how many there are; each head has at least one. */
  private int plan(AttentionShape shape, CpuPageMemory memory, List<AttentionSegment> segments) {
    int pageTokens = memory.layout().pageTokens();
    int count = 0;
    int massOffset = 0;
    for (AttentionSegment segment : segments) {
      int position = segment.firstPosition();
      int start = VisiblePages.windowStart(position, shape.window());
      for (int head = 0; head < shape.kvHeads(); head++) {
        HeadPages pages = segment.heads()[head];
        int first = VisiblePages.firstPage(pages, start);
        int limit = Math.max(first, VisiblePages.pageLimit(pages, position));
        int partTokens =
            (limit - first) * pageTokens <= SHORT_TOKENS ? SHORT_PART_TOKENS : PART_TOKENS;
        int pagesPerPart = Math.max(1, partTokens / pageTokens);
        int page = first;
        do {
          Part part = part(count++);
          part.segment = segment;
          part.head = head;
          part.from = page;
          part.to = Math.min(limit, page + pagesPerPart);
          part.massOffset = massOffset;
          part.tokens = 0;
          for (int p = part.from; p < part.to; p++) {
            part.tokens += pages.tokenCounts[p];
          }
          if (pages.wantMass) {
            massOffset += (part.to - part.from) * shape.groupSize();
          }
          page = part.to;
        } while (page < limit);
      }
    }
    masses = grown(masses, massOffset);
    return count;
  }

  private void attendPart(
      int index, Scratch own, CpuActivations queries, AttentionShape shape, CpuPageMemory memory) {
    Part part = parts[index];
    AttentionSegment segment = part.segment;
    HeadPages pages = segment.heads()[part.head];
    int group = shape.groupSize();
    int headSize = shape.headSize();
    int stride = part.tokens + AttentionKernels.SLACK;
    own.ensure(group, headSize, stride);
    int at = segment.firstRow() * queries.columns() + part.head * group * headSize;
    System.arraycopy(queries.values(), at, own.queries, 0, group * headSize);
    kernels.scale(own.queries, 0, group * headSize, shape.scale());
    CpuPageMemory source = memory;
    HeadPages run = pages;
    int from = part.from;
    int to = part.to;
    if (memory.layout().pageTokens() == 1) {
      StagedTokens staged = own.stage(memory.layout());
      staged.gather(memory, pages, from, to);
      source = staged.memory();
      run = staged.pages();
      from = 0;
      to = run.count;
    }
    readAhead(own, source, run, from, to);
    kernels.scores(source, run, from, to, own.queries, group, own.scores, stride);
    hideInvisible(part, pages, shape.window(), own.scores, group, stride);
    for (int g = 0; g < group; g++) {
      float max = kernels.maximum(own.scores, g * stride, part.tokens);
      maxima[index * group + g] = max;
      totals[index * group + g] =
          part.tokens == 0 ? 0 : kernels.exponentials(own.scores, g * stride, part.tokens, max);
    }
    kernels.weightedValues(source, run, from, to, own.scores, group, stride, own.panel, own.sums);
    System.arraycopy(own.sums, 0, sums, index * group * headSize, group * headSize);
    if (pages.wantMass) {
      sumMass(part, pages, own.scores, group, stride);
    }
  }

  private static void readAhead(
      Scratch own, CpuPageMemory memory, HeadPages pages, int from, int to) {
    int words = memory.layout().wordsPerPage();
    for (int page = from; page < to; page++) {
      int offset = memory.offset(pages.slots[page]);
      own.touched += ReadAhead.touch(memory.slab(pages.slots[page]), offset, offset + words);
    }
  }

  /** Only the first and the last page of a head can hold tokens that the row does not see. */
  private static void hideInvisible(
      Part part, HeadPages pages, int window, float[] scores, int group, int stride) {
    int position = part.segment.firstPosition();
    int start = VisiblePages.windowStart(position, window);
    int before = part.from < part.to ? Math.max(0, start - pages.firstPositions[part.from]) : 0;
    int last = part.to - 1;
    int after =
        part.from < part.to
            ? Math.max(0, pages.firstPositions[last] + pages.tokenCounts[last] - 1 - position)
            : 0;
    for (int g = 0; g < group; g++) {
      int row = g * stride;
      Arrays.fill(scores, row, row + before, Float.NEGATIVE_INFINITY);
      Arrays.fill(scores, row + part.tokens - after, row + part.tokens, Float.NEGATIVE_INFINITY);
    }
  }

  private void sumMass(Part part, HeadPages pages, float[] weights, int group, int stride) {
    int at = part.massOffset;
    int base = 0;
    for (int page = part.from; page < part.to; page++) {
      int count = pages.tokenCounts[page];
      for (int g = 0; g < group; g++) {
        float sum = 0;
        for (int t = 0; t < count; t++) {
          sum += weights[g * stride + base + t];
        }
        masses[at++] = sum;
      }
      base += count;
    }
  }

  private void merge(
      int count, AttentionShape shape, List<AttentionSegment> segments, CpuActivations out) {
    for (AttentionSegment segment : segments) {
      for (HeadPages pages : segment.heads()) {
        if (pages.wantMass) {
          Arrays.fill(pages.mass, 0, pages.count, 0f);
        }
      }
    }
    int first = 0;
    while (first < count) {
      int end = first + 1;
      while (end < count
          && parts[end].head == parts[first].head
          && parts[end].segment == parts[first].segment) {
        end++;
      }
      for (int g = 0; g < shape.groupSize(); g++) {
        mergeHead(first, end, g, shape, out);
      }
      first = end;
    }
  }

  private void mergeHead(int first, int end, int g, AttentionShape shape, CpuActivations out) {
    int group = shape.groupSize();
    int headSize = shape.headSize();
    float max = Float.NEGATIVE_INFINITY;
    for (int i = first; i < end; i++) {
      max = Math.max(max, maxima[i * group + g]);
    }
    float total = 0;
    for (int i = first; i < end; i++) {
      total += totals[i * group + g] * weight(maxima[i * group + g], max);
    }
    Part head = parts[first];
    int at = head.segment.firstRow() * out.columns() + (head.head * group + g) * headSize;
    Arrays.fill(out.values(), at, at + headSize, 0f);
    for (int i = first; i < end; i++) {
      if (parts[i].tokens == 0) {
        continue;
      }
      float factor = weight(maxima[i * group + g], max) / total;
      kernels.addScaled(out.values(), at, sums, (i * group + g) * headSize, headSize, factor);
      addMass(parts[i], g, group, factor);
    }
  }

  /** A part none of whose tokens is seen has a maximum of -infinity and weighs nothing. */
  private static float weight(float partMax, float max) {
    return partMax == Float.NEGATIVE_INFINITY ? 0 : (float) Math.exp(partMax - max);
  }

  private void addMass(Part part, int g, int group, float factor) {
    HeadPages pages = part.segment.heads()[part.head];
    if (!pages.wantMass) {
      return;
    }
    for (int page = part.from; page < part.to; page++) {
      float sum = masses[part.massOffset + (page - part.from) * group + g];
      pages.mass[page] += sum * factor / group;
    }
  }

  private Part part(int index) {
    if (index == parts.length) {
      parts = Arrays.copyOf(parts, Math.max(16, 2 * parts.length));
      for (int i = index; i < parts.length; i++) {
        parts[i] = new Part();
      }
    }
    return parts[index];
  }

  private static float[] grown(float[] array, int size) {
    return array.length >= size ? array : new float[Math.max(size, 2 * array.length)];
  }

  /** A run of pages of one KV head of one segment. */
  private static final class Part {
    AttentionSegment segment;
    int head;
    int from;
    int to;
    int tokens;
    int massOffset;
  }

  /** What one thread works in. */
  private static final class Scratch {
    float[] queries = {};
    float[] scores = {};
    float[] panel = {};
    float[] sums = {};
    StagedTokens staged;

    /** Keeps {@link ReadAhead}'s loops alive. */
    int touched;

    StagedTokens stage(PageLayout layout) {
      if (staged == null || !staged.fits(layout)) {
        staged = new StagedTokens(layout, STAGED_PAGE_TOKENS, PART_TOKENS);
      }
      return staged;
    }

    void ensure(int group, int headSize, int stride) {
      queries = grown(queries, group * headSize + AttentionKernels.SLACK);
      scores = grown(scores, group * stride + AttentionKernels.SLACK);
      panel = grown(panel, group * (headSize + AttentionKernels.SLACK));
      sums = grown(sums, group * headSize + AttentionKernels.SLACK);
    }
  }
}
