package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * {@link SketchScores} with AVX-512 in C: a call prepares the queries of its heads, scores its
 * parts, sums their softmaxes by page and joins the parts of the heads that it completes.
 *
 * <p>Queries are rounded to 16 bits, in two planes of 8 that are multiplied with the codes as whole
 * numbers, and so are the waves of the centre: about 1e-4 of the largest score, where the codes of
 * 2 bits themselves err by a third.
 */
final class NativeSketchScores {
  private static final int MOST_HEAD_SIZE = 256;
  private static final int MOST_GROUP = 16;

  /** Most parts of a call. */
  private static final int MOST_PARTS = 8;

  /** Most heads of a call, see sketch_call.h. */
  private static final int MOST_HEADS = 64;

  private static final int RUN = KeySketches.RUN_TOKENS;
  private static final int LANES = 16;

  // Fields of a part of a call, as in sketch_call.h.
  private static final int RUN_FIELDS = 2;

  private final WorkerPool pool;
  private final NativeLevel level;
  private final Worker[] workers;

  private final ByRope<CentreTables> centres = new ByRope<>(CentreTables::new);
  private final SketchPlan plan = new SketchPlan();
  private float[] results = {};
  private float[] sums = {};
  private float[] pageMasses = {};

  NativeSketchScores(WorkerPool pool, NativeLevel level) {
    this.pool = pool;
    this.level = level;
    workers = new Worker[pool.threads()];
    for (int i = 0; i < workers.length; i++) {
      workers[i] = new Worker();
    }
  }

  /** Whether there are kernels for these: sketches of one kind, with at most one rope. */
  boolean knows(AttentionShape shape, List<SketchSegment> segments) {
    if (level == NativeLevel.NONE
        || shape.groupSize() > MOST_GROUP
        || shape.headSize() > MOST_HEAD_SIZE
        || segments.isEmpty()
        || segments.get(0).heads()[0].codes() > MOST_HEAD_SIZE) {
      return false;
    }
    KeySketches first = segments.get(0).heads()[0];
    for (SketchSegment segment : segments) {
      for (int head = 0; head < shape.kvHeads(); head++) {
        KeySketches other = segment.heads()[head];
        if (other.planes() != first.planes()
            || other.pageTokens() != first.pageTokens()
            || other.headSize() != shape.headSize()
            || other.codes() != first.codes()
            || (other.channels() == null) != (first.channels() == null)
            || other.rope() != first.rope()) {
          return false;
        }
      }
    }
    return true;
  }

  /** Scores sketches that it {@link #knows}. */
  void score(CpuActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    plan.make(queries, shape, segments);
    int partCount = plan.partCount();
    int group = shape.groupSize();
    results = grown(results, partCount * 2 * group);
    sums = grown(sums, plan.sumCount());
    pageMasses = grown(pageMasses, plan.pageCount());
    KeySketches kind = segments.get(0).heads()[0];
    Call call = new Call(queries.values(), shape, kind, centre(segments));
    pool.parallelFor(
        partCount,
        partsOfCall(partCount),
        (worker, from, to) -> workers[worker].score(call, from, to));
    plan.copyMasses(pageMasses);
  }

  /** As many calls for each thread, so that a decode step of one document is one a thread. */
  private int partsOfCall(int partCount) {
    int rounds = Math.max(1, dividedUp(partCount, pool.threads() * MOST_PARTS));
    return Math.max(1, dividedUp(partCount, pool.threads() * rounds));
  }

  private static int dividedUp(int count, int by) {
    return (count + by - 1) / by;
  }

  /** Tables of the sketches' rope that reach all their tokens. */
  private CentreTables centre(List<SketchSegment> segments) {
    KeySketches kind = segments.get(0).heads()[0];
    if (kind.rope() == null) {
      return CentreTables.NONE;
    }
    CentreTables tables = centres.of(kind.rope());
    for (SketchSegment segment : segments) {
      for (KeySketches head : segment.heads()) {
        tables.ensure(head.pages * head.pageTokens());
      }
    }
    return tables;
  }

  private static float[] grown(float[] array, int size) {
    return array.length >= size ? array : new float[Math.max(size, 2 * array.length)];
  }

  /** What all parts of a pass share. */
  private static final class Call {
    final float[] queries;
    final AttentionShape shape;
    final KeySketches kind;
    final CentreTables tables;
    final int[] settings;

    /** Of turned keys, or null. */
    final float[] rotation;

    Call(float[] queries, AttentionShape shape, KeySketches kind, CentreTables tables) {
      this.queries = queries;
      this.shape = shape;
      this.kind = kind;
      this.tables = tables;
      RotationMatrix matrix = RotationMatrix.of(shape.headSize());
      rotation = kind.channels() == null ? matrix.columns() : null;
      int[] numbers = {
        shape.headSize(),
        kind.codes(),
        kind.planes(),
        kind.pageTokens(),
        shape.groupSize(),
        matrix.stride(),
        tables.fast(),
        tables.stride(),
        tables.slow(),
        tables.slowStride()
      };
      settings = Arrays.copyOf(numbers, numbers.length + tables.pairs().length);
      System.arraycopy(tables.pairs(), 0, settings, numbers.length, tables.pairs().length);
    }

    /** Numbers of scratch for rows of {@code stride} scores, as the kernel lays them out. */
    int scratch(int stride) {
      int bytes = 2 * kind.words() * (8 / kind.planes());
      int waves = 6 * tables.stride() + 4 * tables.slowStride() + 2 * LANES;
      return shape.groupSize() * (bytes + waves + stride);
    }
  }

  /** What one thread works in. */
  private final class Worker {
    private float[] scratch = {};

    /** Fields of a call's parts, then of each part its runs and the columns of its pages. */
    private int[] run = {};

    private int length;
    private int mostRuns;

    void score(Call call, int from, int to) {
      int begin = from;
      while (begin < to) {
        int firstHead = plan.headOf(begin);
        int end = begin;
        while (end < to && plan.headOf(end) < firstHead + MOST_HEADS) {
          end++;
        }
        pack(begin, end);
        int stride = (mostRuns + 1) * RUN + LANES;
        scratch = grown(scratch, call.scratch(stride));
        boolean held =
            scoreParts(
                call.settings,
                call.queries,
                plan.heads(),
                plan.parts(),
                begin,
                end,
                firstHead,
                plan.headOf(end - 1) + 1 - firstHead,
                run,
                stride,
                plan.bits(),
                plan.steps(),
                plan.centres(),
                plan.shares(),
                call.rotation,
                plan.dimensions(),
                plan.weights(),
                call.tables.turns(),
                call.tables.shapes(),
                results,
                sums,
                pageMasses,
                scratch,
                call.shape.scale(),
                call.kind.errorVariance());
        if (!held) {
          throw new OutOfMemoryError("Java could not hand its arrays to the sketches' kernel");
        }
        begin = end;
      }
    }

    private void pack(int begin, int end) {
      length = (end - begin) * RUN_FIELDS;
      mostRuns = 0;
      for (int part = begin; part < end; part++) {
        int count = plan.pagesOf(part);
        KeySketches head = plan.sketchesOf(part);
        int most = length + count * (head.pageTokens() / RUN + 3);
        if (run.length < most || run.length < (end - begin) * RUN_FIELDS) {
          run = Arrays.copyOf(run, Math.max(most, 2 * run.length));
        }
        int runCount = listRuns(head, plan.firstPlace(part), count);
        int fields = (part - begin) * RUN_FIELDS;
        int visible = plan.start(part) - head.asked(plan.firstPlace(part)) * head.pageTokens();
        run[fields] = runCount;
        run[fields + 1] = Math.max(0, visible) + run[length - count];
        mostRuns = Math.max(mostRuns, runCount);
      }
    }

    /** Appends the runs that the pages lie in, in order, and where in them the pages begin. */
    private int listRuns(KeySketches head, int place, int count) {
      int pageTokens = head.pageTokens();
      int begin = length;
      int columnsAt = begin + count * (pageTokens / RUN + 2);
      int last = -1;
      for (int i = 0; i < count; i++) {
        int token = head.asked(place + i) * pageTokens;
        int first = token / RUN;
        int column = (last == first ? length - 1 - begin : length - begin) * RUN + token % RUN;
        run[columnsAt + i] = column;
        int end = (token + pageTokens - 1) / RUN;
        for (int next = last == first ? first + 1 : first; next <= end; next++) {
          run[length++] = next;
        }
        last = end;
      }
      check(head, last);
      int runCount = length - begin;
      System.arraycopy(run, columnsAt, run, length, count);
      length += count;
      return runCount;
    }

    /** The pages are in ascending order, so the last run is the highest. */
    private void check(KeySketches head, int lastRun) {
      Objects.checkFromIndexSize(lastRun * RUN, RUN, head.steps.length);
      int blocks = lastRun * RUN / KeySketches.BLOCK_TOKENS + 1;
      Objects.checkFromIndexSize(
          0, blocks * head.words() * KeySketches.BLOCK_TOKENS, head.bits.length);
    }
  }

  /**
   * Scores the parts {@code [from, to)} and joins the parts of the heads that this completes.
   *
   * @param settings sizes, then the pairs of dimensions of the waves
   * @param run fields of the call's parts, then their runs and columns
   * @param rotation of turned keys, or null
   * @param dimensions {@code [head][code]}, with their weights, of keys that are not turned
   * @param stride from one query's scores to the next's
   * @param results maxima and sums of weights by part and query
   * @param sums by part, query and page
   * @param turns see {@link CentreTables#turns}
   * @param pageMasses by page of the plan
   * @return whether Java handed out the arrays
   */
  private static native boolean scoreParts(
      int[] settings,
      float[] queries,
      int[] heads,
      int[] parts,
      int from,
      int to,
      int firstHead,
      int headCount,
      int[] run,
      int stride,
      int[][] bits,
      short[][] steps,
      float[] centres,
      float[] shares,
      float[] rotation,
      int[] dimensions,
      float[] weights,
      float[] turns,
      int[] shapes,
      float[] results,
      float[] sums,
      float[] pageMasses,
      float[] scratch,
      float scale,
      float errorVariance);
}
