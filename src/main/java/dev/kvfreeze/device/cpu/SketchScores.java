package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.Rope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Estimates how the attention of a row would be spread over all sketched pages, frozen or not: the
 * softmax of the sketched scores, summed by page. Heads are cut into parts of tokens for the
 * threads; the parts' softmaxes are merged in order.
 */
final class SketchScores {
  private static final int PART_TOKENS = 2048;
  private static final int BLOCK = KeySketches.BLOCK_TOKENS;
  private static final int MAX_ROPES = 8;

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final SketchKernels sketchKernels;
  private final Scratch[] scratch;
  private final List<SketchedQuery> turnedQueries = new ArrayList<>();
  private final List<CentreScores> centres = new ArrayList<>();
  private Part[] parts = {};
  private int count;
  private float[] maxima = {};
  private float[] totals = {};
  private float[] pageSums = {};

  SketchScores(WorkerPool pool, AttentionKernels kernels, SketchKernels sketchKernels) {
    this.pool = pool;
    this.sketchKernels = sketchKernels;
    this.kernels = kernels;
    this.scratch = new Scratch[pool.threads()];
    for (int i = 0; i < scratch.length; i++) {
      scratch[i] = new Scratch();
    }
  }

  void score(CpuActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    int group = shape.groupSize();
    plan(queries, shape, segments);
    maxima = grown(maxima, count * group);
    totals = grown(totals, count * group);
    pool.parallelFor(
        count,
        1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            scorePart(i, scratch[worker], shape);
          }
        });
    merge(group);
  }

  private void plan(CpuActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    count = 0;
    int sums = 0;
    int turned = 0;
    int group = shape.groupSize();
    ensureCentres(segments);
    for (SketchSegment segment : segments) {
      int start = VisiblePages.windowStart(segment.position(), shape.window());
      for (int head = 0; head < shape.kvHeads(); head++) {
        KeySketches sketches = segment.heads()[head];
        int tokens = sketches.pages * sketches.pageTokens();
        int partTokens = PART_TOKENS / sketches.pageTokens() * sketches.pageTokens();
        int from = start / sketches.pageTokens() * sketches.pageTokens();
        Arrays.fill(sketches.mass, 0, sketches.pages, 0f);
        SketchedQuery query = query(turned++);
        int at = segment.row() * queries.columns() + head * group * shape.headSize();
        query.set(
            kernels,
            queries.values(),
            at,
            group,
            shape.headSize(),
            sketches.planes(),
            shape.scale());
        if (sketches.rope() == null || sketches.centre == null) {
          query.centre = null;
        } else {
          CentreScores scores = centreScores(sketches.rope());
          query.setCentre(kernels, scores, group, shape.headSize(), sketches.centre, tokens);
        }
        while (from < tokens) {
          Part part = part(count++);
          part.segment = segment;
          part.head = head;
          part.query = query;
          part.start = start;
          part.from = from;
          part.to = Math.min(tokens, from + Math.max(sketches.pageTokens(), partTokens));
          part.sums = sums;
          sums += (part.to - part.from) / sketches.pageTokens() * shape.groupSize();
          from = part.to;
        }
      }
    }
    pageSums = grown(pageSums, sums);
  }

  private void scorePart(int index, Scratch own, AttentionShape shape) {
    Part part = parts[index];
    KeySketches sketches = part.segment.heads()[part.head];
    int group = shape.groupSize();
    int firstBlock = part.from / BLOCK * BLOCK;
    int stride = (part.to - firstBlock + BLOCK - 1) / BLOCK * BLOCK + AttentionKernels.SLACK;
    own.ensure(group, stride);
    int blocks = (part.to - firstBlock + BLOCK - 1) / BLOCK;
    if (part.query.centre != null) {
      part.query.centre.score(kernels, group, firstBlock / BLOCK, blocks, own.centre);
    }
    for (int token = firstBlock; token < part.to; token += BLOCK) {
      scoreBlock(own, part, token, group, token - firstBlock, stride);
    }
    int skipped = part.from - firstBlock;
    int tokens = part.to - part.from;
    int hidden = Math.max(0, part.start - part.from);
    int pageTokens = sketches.pageTokens();
    for (int g = 0; g < group; g++) {
      int row = g * stride + skipped;
      Arrays.fill(own.scores, row, row + hidden, Float.NEGATIVE_INFINITY);
      float max = kernels.maximum(own.scores, row, tokens);
      maxima[index * group + g] = max;
      totals[index * group + g] = kernels.exponentials(own.scores, row, tokens, max);
      int sums = part.sums + g * (tokens / pageTokens);
      for (int page = 0; page < tokens / pageTokens; page++) {
        pageSums[sums + page] = sum(own.scores, row + page * pageTokens, pageTokens);
      }
    }
  }

  private void scoreBlock(Scratch own, Part part, int token, int group, int column, int stride) {
    KeySketches sketches = part.segment.heads()[part.head];
    int headSize = sketches.headSize();
    int planes = sketches.planes();
    int at = sketches.wordAt(token, 0);
    float[] query = part.query.scaled;
    int g = 0;
    for (; g + SketchKernels.TOGETHER <= group; g += SketchKernels.TOGETHER) {
      sketchKernels.products3(
          sketches.bits,
          at,
          headSize,
          planes,
          query,
          g * headSize,
          own.scores,
          g * stride + column,
          stride);
    }
    for (; g < group; g++) {
      sketchKernels.products1(
          sketches.bits,
          at,
          headSize,
          planes,
          query,
          g * headSize,
          own.scores,
          g * stride + column);
    }
    for (int t = 0; t < BLOCK; t++) {
      own.steps[t] = Float.intBitsToFloat(sketches.steps[token + t] << 16);
    }
    for (g = 0; g < group; g++) {
      float excess = part.query.excess[g];
      scale(own.scores, g * stride + column, own.steps, part.query.offsets[g], excess);
      if (part.query.centre != null) {
        int blocks = (stride - AttentionKernels.SLACK) / BLOCK;
        add(own.scores, g * stride + column, own.centre.scores, g * blocks * BLOCK + column);
      }
    }
  }

  private static void add(float[] scores, int at, float[] more, int from) {
    for (int t = 0; t < BLOCK; t++) {
      scores[at + t] += more[from + t];
    }
  }

  private static void scale(float[] scores, int at, float[] steps, float offset, float excess) {
    for (int t = 0; t < BLOCK; t++) {
      scores[at + t] = (scores[at + t] + offset - excess * steps[t]) * steps[t];
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
      while (end < count
          && parts[end].head == parts[first].head
          && parts[end].segment == parts[first].segment) {
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
    KeySketches sketches = parts[first].segment.heads()[parts[first].head];
    for (int i = first; i < end; i++) {
      Part part = parts[i];
      int pages = (part.to - part.from) / sketches.pageTokens();
      float factor = (float) Math.exp(maxima[i * group + g] - max) / (total * group);
      kernels.addScaled(
          sketches.mass,
          part.from / sketches.pageTokens(),
          pageSums,
          part.sums + g * pages,
          pages,
          factor);
    }
  }

  /** Before any query is set: growing tables would void those that are. */
  private void ensureCentres(List<SketchSegment> segments) {
    for (SketchSegment segment : segments) {
      for (KeySketches sketches : segment.heads()) {
        if (sketches.rope() != null) {
          centreScores(sketches.rope()).ensure(sketches.pages * sketches.pageTokens());
        }
      }
    }
  }

  private CentreScores centreScores(Rope rope) {
    for (CentreScores scores : centres) {
      if (scores.isOf(rope)) {
        return scores;
      }
    }
    if (centres.size() == MAX_ROPES) {
      centres.remove(0);
    }
    centres.add(new CentreScores(rope));
    return centres.get(centres.size() - 1);
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

  /** A run of sketched tokens of one KV head of one segment; whole pages. */
  private static final class Part {
    SketchSegment segment;
    SketchedQuery query;
    int head;

    /** First position that the row sees. */
    int start;

    int from;
    int to;
    int sums;
  }

  /** What one thread works in. */
  private static final class Scratch {
    final float[] steps = new float[BLOCK];
    final CentreScores.Scratch centre = new CentreScores.Scratch();
    float[] scores = {};

    void ensure(int group, int stride) {
      scores = grown(scores, group * stride);
    }
  }
}
