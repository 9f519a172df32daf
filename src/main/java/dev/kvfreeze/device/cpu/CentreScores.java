package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.model.Rope;
import java.util.Arrays;

/**
 * What queries score with the centre of sketched keys, which the rotary embedding turns with the
 * position: the sum of one wave of the position for each pair of dimensions. Waves that turn
 * noticeably within a block of tokens are added up token by token; of the slow ones, the parabola
 * that they make in the block.
 */
final class CentreScores {
  private static final int BLOCK = KeySketches.BLOCK_TOKENS;
  private static final int RUN = KeySketches.RUN_TOKENS;
  private static final float MIDDLE = (BLOCK - 1) / 2f;

  /**
   * Radians in half a block up to which a wave counts as a parabola: its cubic term stays below
   * 0.3^3 / 6 = 0.0045 of the wave.
   */
  private static final double SLOW = 0.3;

  private static final int TERMS = RunPair.TERMS;

  /** Blocks whose parabolas fill the columns of one product. */
  private static final int TOGETHER = AttentionKernels.PRODUCT_COLUMNS / TERMS;

  /** Fast waves are padded to whole registers. */
  private static final int PADDING = 16;

  private final Rope rope;
  private final int[] fast;
  private final int[] slow;
  private final int stride;

  /** See {@link RunPair#shapes}. */
  private final float[] shapes;

  private final int[] shapePairs;
  private final int[] pairDimensions;

  /** Of the fast pairs at the runs' first positions: {@code [run][stride]}. */
  private float[] cosines = {};

  private float[] sines = {};

  /** {@code [cosine and sine of each slow pair][block * TERMS + term]}. */
  private float[] parabolas = {};

  private int columns;
  private int blocks;

  CentreScores(Rope rope) {
    this.rope = rope;
    int[] pairs = new int[rope.pairs()];
    int fastCount = 0;
    int end = pairs.length;
    for (int pair = 0; pair < pairs.length; pair++) {
      if (Math.abs(rope.inverseFrequencies()[pair]) * MIDDLE > SLOW) {
        pairs[fastCount++] = pair;
      } else {
        pairs[--end] = pair;
      }
    }
    this.fast = Arrays.copyOf(pairs, fastCount);
    this.slow = Arrays.copyOfRange(pairs, fastCount, pairs.length);
    this.stride = rounded(fast.length, PADDING);
    this.shapes = new float[2 * stride * RUN];
    for (int t = 0; t < RUN; t++) {
      for (int i = 0; i < fast.length; i++) {
        double angle = rope.angle(fast[i], t);
        shapes[i * RUN + t] = (float) Math.cos(angle);
        shapes[(stride + i) * RUN + t] = (float) Math.sin(angle);
      }
    }
    this.shapePairs = shapePairs();
    this.pairDimensions = pairDimensions();
  }

  private int[] shapePairs() {
    int[] pairs = new int[fast.length * BLOCK];
    for (int i = 0; i < fast.length; i++) {
      for (int t = 0; t < BLOCK; t++) {
        double angle = rope.angle(fast[i], t);
        int cosine = (int) Math.round(Math.cos(angle) * Tables.SHAPE_UNIT);
        int sine = (int) Math.round(Math.sin(angle) * Tables.SHAPE_UNIT);
        pairs[i * BLOCK + t] = sine << 16 | cosine & 0xffff;
      }
    }
    return pairs;
  }

  private int[] pairDimensions() {
    int[] dimensions = new int[2 * (fast.length + slow.length)];
    int at = 0;
    for (int[] pairs : new int[][] {fast, slow}) {
      for (int i = 0; i < pairs.length; i++) {
        dimensions[at + i] = rope.first(pairs[i]);
        dimensions[at + pairs.length + i] = rope.second(pairs[i]);
      }
      at += 2 * pairs.length;
    }
    return dimensions;
  }

  /** The tables as they are until {@link #ensure} makes them longer. */
  Tables tables() {
    return new Tables(
        fast.length,
        stride,
        slow.length,
        columns,
        pairDimensions,
        cosines,
        sines,
        parabolas,
        shapePairs);
  }

  boolean isOf(Rope other) {
    return rope == other;
  }

  /** Makes the tables reach so many tokens. */
  void ensure(int tokens) {
    int needed = rounded((tokens + BLOCK - 1) / BLOCK, TOGETHER);
    if (needed <= blocks) {
      return;
    }
    blocks = Math.max(needed, 2 * blocks);
    cosines = new float[blocks * (BLOCK / RUN) * stride];
    sines = new float[blocks * (BLOCK / RUN) * stride];
    columns = blocks * TERMS;
    parabolas = new float[2 * slow.length * columns + AttentionKernels.SLACK];
    for (int run = 0; run < blocks * (BLOCK / RUN); run++) {
      for (int i = 0; i < fast.length; i++) {
        double angle = rope.angle(fast[i], run * RUN);
        cosines[run * stride + i] = (float) Math.cos(angle);
        sines[run * stride + i] = (float) Math.sin(angle);
      }
    }
    for (int block = 0; block < blocks; block++) {
      fillParabolas(block);
    }
  }

  private void fillParabolas(int block) {
    for (int i = 0; i < slow.length; i++) {
      double frequency = rope.inverseFrequencies()[slow[i]];
      double angle = (block * (double) BLOCK + MIDDLE) * frequency;
      double cosine = Math.cos(angle);
      double sine = Math.sin(angle);
      int ofCosine = i * columns + block * TERMS;
      parabolas[ofCosine] = (float) cosine;
      parabolas[ofCosine + 1] = (float) (-frequency * sine);
      parabolas[ofCosine + 2] = (float) (-frequency * frequency / 2 * cosine);
      int ofSine = (slow.length + i) * columns + block * TERMS;
      parabolas[ofSine] = (float) sine;
      parabolas[ofSine + 1] = (float) (frequency * cosine);
      parabolas[ofSine + 2] = (float) (-frequency * frequency / 2 * sine);
    }
  }

  private static int rounded(int count, int unit) {
    return (count + unit - 1) / unit * unit;
  }

  /** The queries of a group and a head's centre: each wave's part in phase and its quadrature. */
  final class Query {
    private float[] cosine = {};
    private float[] sine = {};
    private float[] slowWaves = {};

    /**
     * Takes queries {@code [group][headSize]}, scaled and at their position.
     *
     * @param centre of the head's keys, at position 0
     */
    void set(float[] queries, int group, int headSize, float[] centre) {
      int rows = AttentionKernels.paddedRows(group);
      if (cosine.length < group * stride || slowWaves.length < rows * 2 * slow.length) {
        cosine = new float[group * stride];
        sine = new float[group * stride];
        slowWaves = new float[rows * 2 * slow.length];
      }
      for (int g = 0; g < group; g++) {
        for (int i = 0; i < fast.length; i++) {
          cosine[g * stride + i] = inPhase(queries, g * headSize, centre, fast[i]);
          sine[g * stride + i] = inQuadrature(queries, g * headSize, centre, fast[i]);
        }
        int at = g * 2 * slow.length;
        for (int i = 0; i < slow.length; i++) {
          slowWaves[at + i] = inPhase(queries, g * headSize, centre, slow[i]);
          slowWaves[at + slow.length + i] = inQuadrature(queries, g * headSize, centre, slow[i]);
        }
      }
    }

    private float inPhase(float[] query, int at, float[] centre, int pair) {
      int first = rope.first(pair);
      int second = rope.second(pair);
      return query[at + first] * centre[first] + query[at + second] * centre[second];
    }

    private float inQuadrature(float[] query, int at, float[] centre, int pair) {
      int first = rope.first(pair);
      int second = rope.second(pair);
      return query[at + second] * centre[first] - query[at + first] * centre[second];
    }

    /** Before {@link #set(SketchKernels, int, int, int, Scratch)} of runs from one to the other. */
    void open(AttentionKernels kernels, int group, int firstRun, int lastRun, Scratch own) {
      int from = firstRun / (BLOCK / RUN) / TOGETHER * TOGETHER;
      int used = AttentionKernels.paddedColumns((lastRun / (BLOCK / RUN) + 1 - from) * TERMS);
      int rows = AttentionKernels.paddedRows(group);
      own.open(group, stride, fast.length, shapes, rows * used, from, used);
      kernels.multiply(
          slowWaves,
          2 * slow.length,
          parabolas,
          from * TERMS,
          columns,
          own.heights,
          used,
          rows,
          used,
          2 * slow.length);
    }

    /** Sets the first or the second run of {@link Scratch#runs}, for the group. */
    void set(SketchKernels kernels, int group, int place, int run, Scratch own) {
      float fromMiddle = run % (BLOCK / RUN) * RUN + (RUN - 1) / 2f - MIDDLE;
      for (int g = 0; g < group; g++) {
        int height = g * own.columns + (run / (BLOCK / RUN) - own.firstBlock) * TERMS;
        int to = (g * 2 + place) * TERMS;
        float slope = own.heights[height + 1];
        float curvature = own.heights[height + 2];
        float[] parabola = own.runs.parabolas;
        parabola[to] = own.heights[height] + fromMiddle * (slope + fromMiddle * curvature);
        parabola[to + 1] = slope + 2 * fromMiddle * curvature;
        parabola[to + 2] = curvature;
        kernels.turn(
            cosine,
            sine,
            g * stride,
            cosines,
            sines,
            run * stride,
            stride,
            own.runs.factors,
            (g * 2 + place) * 2 * stride);
      }
    }
  }

  /**
   * What the native kernels read.
   *
   * @param fast waves that turn noticeably within a block
   * @param stride from one run's fast waves to the next's
   * @param slow the other waves
   * @param columns from one slow wave's parabolas to the next's
   * @param pairs first dimensions of the fast waves, their second ones, then those of the slow ones
   * @param cosines of the fast waves at the runs' first positions: {@code [run][stride]}
   * @param sines as {@code cosines}
   * @param parabolas {@code [cosine and sine of each slow wave][columns]}
   * @param shapes of fast waves from a block's beginning: {@code [fast][BLOCK]}, times {@link
   *     #SHAPE_UNIT}, the cosine in the low half of a word and the sine in the high one
   */
  record Tables(
      int fast,
      int stride,
      int slow,
      int columns,
      int[] pairs,
      float[] cosines,
      float[] sines,
      float[] parabolas,
      int[] shapes) {
    static final int SHAPE_UNIT = 1 << 14;

    private static final float[] EMPTY = {};

    /** For centres that do not turn. */
    static final Tables NONE = new Tables(0, 0, 0, 0, new int[0], EMPTY, EMPTY, EMPTY, new int[0]);
  }

  /** What one thread works in. */
  static final class Scratch {
    final RunPair runs = new RunPair();
    private float[] heights = {};
    private int firstBlock;
    private int columns;

    private void open(
        int group, int stride, int waves, float[] shapes, int heightCount, int from, int used) {
      if (heights.length < heightCount + AttentionKernels.SLACK) {
        heights = new float[heightCount + AttentionKernels.SLACK];
      }
      firstBlock = from;
      columns = used;
      runs.open(group, stride, waves, shapes);
    }

    /** For a centre that does not turn, or none. */
    void openFixed(int group) {
      runs.open(group, 0, 0, runs.shapes);
      Arrays.fill(runs.parabolas, 0f);
    }
  }
}
