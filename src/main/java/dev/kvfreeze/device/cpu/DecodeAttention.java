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
  /** At least a register of tokens at every vector width. */
  private static final int STAGED_PAGE_TOKENS = 16;

  /** Products of a query and a key below which a parallel region costs more than it gains. */
  private static final long PARALLEL_PRODUCTS = 1 << 16;

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final NativeDecodeAttention natively;
  private final DecodePlan plan = new DecodePlan();
  private final Scratch[] scratch;
  private float[] maxima = {};
  private float[] totals = {};
  private float[] sums = {};
  private float[] masses = {};

  /** With native kernels up to a level where they know the pages, else those given. */
  DecodeAttention(WorkerPool pool, AttentionKernels kernels, NativeLevel level) {
    this.pool = pool;
    this.kernels = kernels;
    natively = new NativeDecodeAttention(pool, level);
    scratch = new Scratch[pool.threads()];
    for (int i = 0; i < scratch.length; i++) {
      scratch[i] = new Scratch();
    }
  }

  boolean knowsNatively(PageLayout layout) {
    return natively.knows(layout);
  }

  /** Attends the segments, each of one row. */
  void attend(
      CpuActivations queries,
      AttentionShape shape,
      CpuPageMemory memory,
      List<AttentionSegment> segments,
      CpuActivations out) {
    plan.make(shape, memory.layout().pageTokens(), segments, queries.columns(), out.columns());
    if (natively.knows(memory.layout())) {
      natively.attend(plan, queries, shape, memory, out);
      return;
    }
    int group = shape.groupSize();
    int count = plan.partCount();
    maxima = grown(maxima, count * group);
    totals = grown(totals, count * group);
    sums = grown(sums, count * group * shape.headSize());
    masses = grown(masses, plan.massPages() * group);
    long products = plan.mostTokens() * group * shape.headSize();
    int grain = products < PARALLEL_PRODUCTS ? Math.max(1, count) : 1;
    pool.parallelFor(
        count,
        grain,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            attendPart(i, scratch[worker], queries, shape, memory);
          }
        });
    merge(shape, out);
  }

  private void attendPart(
      int index, Scratch own, CpuActivations queries, AttentionShape shape, CpuPageMemory memory) {
    HeadPages pages = plan.pagesOf(index);
    int tokens = plan.tokens(index);
    int group = shape.groupSize();
    int headSize = shape.headSize();
    int stride = tokens + AttentionKernels.SLACK;
    own.ensure(group, headSize, stride);
    int at = plan.head(plan.part(index, DecodePlan.PART_HEAD), DecodePlan.HEAD_QUERIES_AT);
    System.arraycopy(queries.values(), at, own.queries, 0, group * headSize);
    kernels.scale(own.queries, 0, group * headSize, shape.scale());
    CpuPageMemory source = memory;
    HeadPages run = pages;
    int from = plan.from(index);
    int to = plan.to(index);
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
    int before = plan.hiddenBefore(index);
    int after = plan.hiddenAfter(index);
    for (int g = 0; g < group; g++) {
      int row = g * stride;
      Arrays.fill(own.scores, row, row + before, Float.NEGATIVE_INFINITY);
      Arrays.fill(own.scores, row + tokens - after, row + tokens, Float.NEGATIVE_INFINITY);
      float max = kernels.maximum(own.scores, row, tokens);
      maxima[index * group + g] = max;
      totals[index * group + g] =
          tokens == 0 ? 0 : kernels.exponentials(own.scores, row, tokens, max);
    }
    kernels.weightedValues(source, run, from, to, own.scores, group, stride, own.panel, own.sums);
    System.arraycopy(own.sums, 0, sums, index * group * headSize, group * headSize);
    if (pages.wantMass) {
      sumMass(index, pages, own.scores, group, stride);
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

  private void sumMass(int part, HeadPages pages, float[] weights, int group, int stride) {
    int at = plan.part(part, DecodePlan.PART_MASS_AT) * group;
    int base = 0;
    for (int page = plan.from(part); page < plan.to(part); page++) {
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

  private void merge(AttentionShape shape, CpuActivations out) {
    for (int head = 0; head < plan.headCount(); head++) {
      HeadPages pages = plan.headPages(head);
      if (pages.wantMass) {
        Arrays.fill(pages.mass, 0, pages.count, 0f);
      }
      for (int g = 0; g < shape.groupSize(); g++) {
        mergeHead(head, g, shape, out);
      }
    }
  }

  private void mergeHead(int head, int g, AttentionShape shape, CpuActivations out) {
    int first = plan.head(head, DecodePlan.HEAD_FIRST_PART);
    int end = first + plan.head(head, DecodePlan.HEAD_PARTS);
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
    int at = plan.head(head, DecodePlan.HEAD_OUT_AT) + g * headSize;
    Arrays.fill(out.values(), at, at + headSize, 0f);
    for (int i = first; i < end; i++) {
      if (plan.part(i, DecodePlan.PART_PAGES) == 0) {
        continue;
      }
      float factor = weight(maxima[i * group + g], max) / total;
      kernels.addScaled(out.values(), at, sums, (i * group + g) * headSize, headSize, factor);
      addMass(i, g, group, factor);
    }
  }

  /** A part none of whose tokens is seen has a maximum of -infinity and weighs nothing. */
  private static float weight(float partMax, float max) {
    return partMax == Float.NEGATIVE_INFINITY ? 0 : (float) Math.exp(partMax - max);
  }

  private void addMass(int part, int g, int group, float factor) {
    HeadPages pages = plan.pagesOf(part);
    if (!pages.wantMass) {
      return;
    }
    int at = plan.part(part, DecodePlan.PART_MASS_AT);
    for (int page = plan.from(part); page < plan.to(part); page++) {
      float sum = masses[(at + page - plan.from(part)) * group + g];
      pages.mass[page] += sum * factor / group;
    }
  }

  private static float[] grown(float[] array, int size) {
    return array.length >= size ? array : new float[Math.max(size, 2 * array.length)];
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
        staged = new StagedTokens(layout, STAGED_PAGE_TOKENS, DecodePlan.PART_TOKENS);
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
