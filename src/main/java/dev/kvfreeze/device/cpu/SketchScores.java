package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.model.AttentionShape;
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

  private final WorkerPool pool;
  private final AttentionKernels kernels;
  private final Scratch[] scratch;
  private Part[] parts = {};
  private int count;
  private float[] maxima = {};
  private float[] totals = {};
  private float[] pageSums = {};

  SketchScores(WorkerPool pool, AttentionKernels kernels) {
    this.pool = pool;
    this.kernels = kernels;
    this.scratch = new Scratch[pool.threads()];
    for (int i = 0; i < scratch.length; i++) {
      scratch[i] = new Scratch();
    }
  }

  void score(CpuActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    int group = shape.groupSize();
    plan(shape, segments);
    maxima = grown(maxima, count * group);
    totals = grown(totals, count * group);
    pool.parallelFor(
        count,
        1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            scorePart(i, scratch[worker], queries, shape);
          }
        });
    merge(group);
  }

  private void plan(AttentionShape shape, List<SketchSegment> segments) {
    count = 0;
    int sums = 0;
    for (SketchSegment segment : segments) {
      int start = VisiblePages.windowStart(segment.position(), shape.window());
      for (int head = 0; head < shape.kvHeads(); head++) {
        KeySketches sketches = segment.heads()[head];
        int tokens = sketches.pages * sketches.pageTokens();
        int partTokens = PART_TOKENS / sketches.pageTokens() * sketches.pageTokens();
        int from = start / sketches.pageTokens() * sketches.pageTokens();
        Arrays.fill(sketches.mass, 0, sketches.pages, 0f);
        while (from < tokens) {
          Part part = part(count++);
          part.segment = segment;
          part.head = head;
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

  private void scorePart(int index, Scratch own, CpuActivations queries, AttentionShape shape) {
    Part part = parts[index];
    KeySketches sketches = part.segment.heads()[part.head];
    int group = shape.groupSize();
    int headSize = shape.headSize();
    int at = part.segment.row() * queries.columns() + part.head * group * headSize;
    own.query.set(queries.values(), at, group, headSize, shape.scale());
    int firstBlock = part.from / BLOCK * BLOCK;
    int stride = (part.to - firstBlock + BLOCK - 1) / BLOCK * BLOCK + AttentionKernels.SLACK;
    own.ensure(group, stride);
    for (int token = firstBlock; token < part.to; token += BLOCK) {
      scoreBlock(own, sketches, token, group, token - firstBlock, stride);
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
        float sum = 0;
        for (int t = 0; t < pageTokens; t++) {
          sum += own.scores[row + page * pageTokens + t];
        }
        pageSums[sums + page] = sum;
      }
    }
  }

  private static void scoreBlock(
      Scratch own, KeySketches sketches, int token, int group, int column, int stride) {
    int planes = sketches.planes();
    int words = sketches.words();
    long[] bits = sketches.bits;
    Arrays.fill(own.ones, 0, BLOCK, 0);
    Arrays.fill(own.products, 0, group * BLOCK, 0);
    for (int plane = 0; plane < planes; plane++) {
      for (int word = 0; word < words; word++) {
        int at = sketches.wordAt(token, plane, word);
        countOnes(bits, at, own.ones, plane);
        for (int g = 0; g < group; g++) {
          int query = g * SketchedQuery.PLANES * words + word;
          multiply(
              bits,
              at,
              own.query.bits[query],
              own.query.bits[query + words],
              own.query.bits[query + 2 * words],
              own.query.bits[query + 3 * words],
              own.products,
              g * BLOCK,
              plane);
        }
      }
    }
    int middle = (1 << planes) - 1;
    for (int g = 0; g < group; g++) {
      float low = 2 * own.query.lowest[g];
      float spacing = 2 * own.query.spacing[g];
      float shift = middle * own.query.sums[g];
      int row = g * stride + column;
      for (int t = 0; t < BLOCK; t++) {
        float step = Float.intBitsToFloat(sketches.steps[token + t] << 16);
        own.scores[row + t] =
            step * (low * own.ones[t] + spacing * own.products[g * BLOCK + t] - shift);
      }
    }
  }

  private static void countOnes(long[] bits, int at, int[] ones, int plane) {
    for (int t = 0; t < BLOCK; t++) {
      ones[t] += Long.bitCount(bits[at + t]) << plane;
    }
  }

  private static void multiply(
      long[] bits,
      int at,
      long query0,
      long query1,
      long query2,
      long query3,
      int[] products,
      int row,
      int plane) {
    for (int t = 0; t < BLOCK; t++) {
      long key = bits[at + t];
      int sum =
          Long.bitCount(key & query0)
              + (Long.bitCount(key & query1) << 1)
              + (Long.bitCount(key & query2) << 2)
              + (Long.bitCount(key & query3) << 3);
      products[row + t] += sum << plane;
    }
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
    int head;

    /** First position that the row sees. */
    int start;

    int from;
    int to;
    int sums;
  }

  /** What one thread works in. */
  private static final class Scratch {
    final SketchedQuery query = new SketchedQuery();
    final int[] ones = new int[BLOCK];
    int[] products = {};
    float[] scores = {};

    void ensure(int group, int stride) {
      if (products.length < group * BLOCK) {
        products = new int[group * BLOCK];
      }
      scores = grown(scores, group * stride);
    }
  }
}
