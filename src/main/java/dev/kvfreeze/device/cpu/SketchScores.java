package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.model.AttentionShape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Estimates how the attention of a row would be spread over the sketched pages, frozen or not: the
 * softmax of the sketched scores, summed by page. Heads are cut into parts of pages for the
 * threads; the parts' softmaxes are merged in order.
 */
final class SketchScores {
  private static final int PART_TOKENS = 1024;
  private static final int RUN = KeySketches.RUN_TOKENS;

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final SketchKernels sketchKernels;
  private final NativeSketchScores natively;
  private final Scratch[] scratch;
  private final List<SketchedQuery> turnedQueries = new ArrayList<>();
  private final ByRope<CentreScores> centres = new ByRope<>(CentreScores::new);
  private Part[] parts = {};
  private int count;
  private float[] maxima = {};
  private float[] totals = {};
  private float[] pageSums = {};

  /** With native kernels up to a level where they know the sketches, else those given. */
  SketchScores(
      WorkerPool pool, AttentionKernels kernels, SketchKernels sketchKernels, NativeLevel level) {
    this.pool = pool;
    this.natively = new NativeSketchScores(pool, level);
    this.sketchKernels = sketchKernels;
    this.kernels = kernels;
    this.scratch = new Scratch[pool.threads()];
    for (int i = 0; i < scratch.length; i++) {
      scratch[i] = new Scratch();
    }
  }

  void score(CpuActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    if (natively.knows(shape, segments)) {
      natively.score(queries, shape, segments);
      return;
    }
    ensureCentres(segments);
    int group = shape.groupSize();
    plan(queries, shape, segments);
    maxima = grown(maxima, count * group);
    totals = grown(totals, count * group);
    pool.parallelFor(
        count,
        1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            scorePart(i, scratch[worker], group);
          }
        });
    merge(group);
  }

  private void plan(CpuActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    count = 0;
    int sums = 0;
    int turned = 0;
    int group = shape.groupSize();
    for (SketchSegment segment : segments) {
      int start = VisiblePages.windowStart(segment.position(), shape.window());
      for (int head = 0; head < shape.kvHeads(); head++) {
        KeySketches sketches = segment.heads()[head];
        Arrays.fill(sketches.mass, 0, sketches.pages, 0f);
        SketchedQuery query = query(turned++);
        set(query, queries, segment, head, shape);
        int pagesOfPart = Math.max(1, PART_TOKENS / sketches.pageTokens());
        int pages = sketches.askedCount();
        int from = 0;
        while (from < pages && (sketches.asked(from) + 1L) * sketches.pageTokens() <= start) {
          from++;
        }
        while (from < pages) {
          Part part = part(count++);
          part.sketches = sketches;
          part.query = query;
          part.start = start;
          part.from = from;
          part.to = Math.min(pages, from + pagesOfPart);
          part.sums = sums;
          sums += (part.to - part.from) * group;
          from = part.to;
        }
      }
    }
    pageSums = grown(pageSums, sums);
  }

  private void set(
      SketchedQuery query,
      CpuActivations queries,
      SketchSegment segment,
      int head,
      AttentionShape shape) {
    KeySketches sketches = segment.heads()[head];
    int group = shape.groupSize();
    int headSize = shape.headSize();
    int at = segment.row() * queries.columns() + head * group * headSize;
    query.set(kernels, queries.values(), at, group, sketches, shape.scale());
    if (sketches.rope() == null || sketches.centre == null) {
      query.centre = null;
    } else {
      query.setCentre(centres.of(sketches.rope()), group, headSize, sketches.centre);
    }
  }

  private void scorePart(int index, Scratch own, int group) {
    Part part = parts[index];
    own.listRuns(part, group);
    SketchedQuery query = part.query;
    if (query.centre == null) {
      own.centre.openFixed(group);
    } else {
      query.centre.open(kernels, group, own.runs[0], own.runs[own.runCount - 1], own.centre);
    }
    own.centre.runs.offsets = query.offsets;
    own.centre.runs.excess = query.excess;
    for (int i = 0; i < own.runCount; i += 2) {
      scorePair(own, part, i, group);
    }
    int tokens = own.runCount * RUN;
    int pages = part.to - part.from;
    for (int g = 0; g < group; g++) {
      int row = g * own.stride;
      own.hide(part, row);
      float max = kernels.maximum(own.scores, row, tokens);
      maxima[index * group + g] = max;
      totals[index * group + g] = kernels.exponentials(own.scores, row, tokens, max);
      int pageTokens = part.sketches.pageTokens();
      for (int i = 0; i < pages; i++) {
        pageSums[part.sums + g * pages + i] = sum(own.scores, row + own.columns[i], pageTokens);
      }
    }
  }

  /** The scores of two runs, the last of them twice where their number is odd. */
  private void scorePair(Scratch own, Part part, int index, int group) {
    KeySketches sketches = part.sketches;
    int run0 = own.runs[index];
    int run1 = own.runs[Math.min(index + 1, own.runCount - 1)];
    RunPair runs = own.centre.runs;
    for (int t = 0; t < RUN; t++) {
      runs.steps[t] = Float.intBitsToFloat(sketches.steps[run0 * RUN + t] << 16);
      runs.steps[RUN + t] = Float.intBitsToFloat(sketches.steps[run1 * RUN + t] << 16);
    }
    if (part.query.centre != null) {
      part.query.centre.set(sketchKernels, group, 0, run0, own.centre);
      part.query.centre.set(sketchKernels, group, 1, run1, own.centre);
    }
    int codes = sketches.codes();
    int planes = sketches.planes();
    int[] bits = sketches.bits;
    int at0 = sketches.wordAt(run0 * RUN, 0);
    int at1 = sketches.wordAt(run1 * RUN, 0);
    float[] query = part.query.scaled;
    int column = index * RUN;
    int g = 0;
    for (; g + SketchKernels.TOGETHER <= group; g += SketchKernels.TOGETHER) {
      int to = g * own.stride + column;
      sketchKernels.products3(
          bits, at0, at1, codes, planes, query, g * codes, own.scores, to, own.stride);
      for (int i = 0; i < SketchKernels.TOGETHER; i++) {
        sketchKernels.finish(runs, g + i, own.scores, to + i * own.stride);
      }
      if (runs.waves > 0) {
        sketchKernels.addWaves3(runs, g, own.scores, to, own.stride);
      }
    }
    for (; g < group; g++) {
      int to = g * own.stride + column;
      sketchKernels.products1(bits, at0, at1, codes, planes, query, g * codes, own.scores, to);
      sketchKernels.finish(runs, g, own.scores, to);
      if (runs.waves > 0) {
        sketchKernels.addWaves1(runs, g, own.scores, to);
      }
    }
  }

  /** With four sums, so that no addition waits for the one before. */
  private static float sum(float[] x, int offset, int count) {
    float sum0 = 0;
    float sum1 = 0;
    float sum2 = 0;
    float sum3 = 0;
    int i = 0;
    for (; i + 4 <= count; i += 4) {
      sum0 += x[offset + i];
      sum1 += x[offset + i + 1];
      sum2 += x[offset + i + 2];
      sum3 += x[offset + i + 3];
    }
    for (; i < count; i++) {
      sum0 += x[offset + i];
    }
    return (sum0 + sum1) + (sum2 + sum3);
  }

  private void merge(int group) {
    int first = 0;
    while (first < count) {
      int end = first + 1;
      while (end < count && parts[end].sketches == parts[first].sketches) {
        end++;
      }
      for (int g = 0; g < group; g++) {
        mergeHead(first, end, g, group);
      }
      first = end;
    }
  }

  private void mergeHead(int first, int end, int g, int group) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = first; i < end; i++) {
      max = Math.max(max, maxima[i * group + g]);
    }
    float total = 0;
    for (int i = first; i < end; i++) {
      total += totals[i * group + g] * (float) Math.exp(maxima[i * group + g] - max);
    }
    KeySketches sketches = parts[first].sketches;
    float share = (1 - sketches.unaskedShare()) / (total * group);
    for (int i = first; i < end; i++) {
      Part part = parts[i];
      int pages = part.to - part.from;
      float factor = (float) Math.exp(maxima[i * group + g] - max) * share;
      for (int page = 0; page < pages; page++) {
        sketches.mass[sketches.asked(part.from + page)] +=
            pageSums[part.sums + g * pages + page] * factor;
      }
    }
  }

  /** Before any query is set: growing tables would void those that are. */
  private void ensureCentres(List<SketchSegment> segments) {
    for (SketchSegment segment : segments) {
      for (KeySketches sketches : segment.heads()) {
        if (sketches.rope() != null) {
          centres.of(sketches.rope()).ensure(sketches.pages * sketches.pageTokens());
        }
      }
    }
  }

  private SketchedQuery query(int index) {
    if (index == turnedQueries.size()) {
      turnedQueries.add(new SketchedQuery());
    }
    return turnedQueries.get(index);
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
    return array.length >= size + AttentionKernels.SLACK
        ? array
        : new float[Math.max(size, 2 * array.length) + AttentionKernels.SLACK];
  }

  /** Some of the pages to score of one KV head of one segment. */
  private static final class Part {
    KeySketches sketches;
    SketchedQuery query;

    /** First position that the row sees. */
    int start;

    /** Places in the list of pages to score. */
    int from;

    int to;
    int sums;
  }

  /** What one thread works in. */
  private static final class Scratch {
    final CentreScores.Scratch centre = new CentreScores.Scratch();

    /** The runs that a part's pages lie in, in order. */
    int[] runs = {};

    int runCount;

    /** Where a page's first token is in a row of scores. */
    int[] columns = {};

    /** From one query's scores to the next's. */
    int stride;

    float[] scores = {};

    void listRuns(Part part, int group) {
      int pageTokens = part.sketches.pageTokens();
      int pages = part.to - part.from;
      int most = pages * (pageTokens / RUN + 2);
      if (runs.length < most || columns.length < pages) {
        runs = new int[most];
        columns = new int[pages];
      }
      runCount = 0;
      for (int i = 0; i < pages; i++) {
        int token = part.sketches.asked(part.from + i) * pageTokens;
        int first = token / RUN;
        boolean shared = runCount > 0 && runs[runCount - 1] == first;
        columns[i] = (shared ? runCount - 1 : runCount) * RUN + token % RUN;
        for (int run = shared ? first + 1 : first; run <= (token + pageTokens - 1) / RUN; run++) {
          runs[runCount++] = run;
        }
      }
      stride = (runCount + 1) * RUN + AttentionKernels.SLACK;
      scores = grown(scores, group * stride);
    }

    /** No attention for the tokens of the runs that are not of the part's pages or not visible. */
    void hide(Part part, int row) {
      int pageTokens = part.sketches.pageTokens();
      int visible = part.start - part.sketches.asked(part.from) * pageTokens;
      int end = Math.max(0, visible) + columns[0];
      Arrays.fill(scores, row, row + end, Float.NEGATIVE_INFINITY);
      end = columns[0] + pageTokens;
      for (int i = 1; i < part.to - part.from; i++) {
        if (columns[i] > end) {
          Arrays.fill(scores, row + end, row + columns[i], Float.NEGATIVE_INFINITY);
        }
        end = columns[i] + pageTokens;
      }
      Arrays.fill(scores, row + end, row + runCount * RUN, Float.NEGATIVE_INFINITY);
    }
  }
}
