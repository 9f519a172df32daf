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
  private static final int BLOCK = CentreWaves.BLOCK;
  private static final int RUN = KeySketches.RUN_TOKENS;
  private static final float MIDDLE = CentreWaves.MIDDLE;
  private static final int TERMS = RunPair.TERMS;

  /** Blocks whose parabolas fill the columns of one product. */
  private static final int TOGETHER = AttentionKernels.PRODUCT_COLUMNS / TERMS;

  private final CentreWaves waves;
  private final int[] fast;
  private final int[] slow;
  private final int stride;

  /** See {@link RunPair#shapes}. */
  private final float[] shapes;

  /** Of the fast pairs at the runs' first positions: {@code [run][stride]}. */
  private float[] cosines = {};

  private float[] sines = {};

  /** {@code [cosine and sine of each slow pair][block * TERMS + term]}. */
  private float[] parabolas = {};

  private int columns;
  private int blocks;

  CentreScores(Rope rope) {
    this.waves = CentreWaves.of(rope);
    this.fast = waves.fast();
    this.slow = waves.slow();
    this.stride = CentreWaves.padded(fast.length);
    this.shapes = new float[2 * stride * RUN];
    for (int t = 0; t < RUN; t++) {
      for (int i = 0; i < fast.length; i++) {
        double angle = rope.angle(fast[i], t);
        shapes[i * RUN + t] = (float) Math.cos(angle);
        shapes[(stride + i) * RUN + t] = (float) Math.sin(angle);
      }
    }
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
        double angle = waves.rope().angle(fast[i], run * RUN);
        cosines[run * stride + i] = (float) Math.cos(angle);
        sines[run * stride + i] = (float) Math.sin(angle);
      }
    }
    for (int block = 0; block < blocks; block++) {
      for (int i = 0; i < slow.length; i++) {
        int at = i * columns + block * TERMS;
        waves.parabola(i, block, parabolas, at, at + slow.length * columns);
      }
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
      int first = waves.rope().first(pair);
      int second = waves.rope().second(pair);
      return query[at + first] * centre[first] + query[at + second] * centre[second];
    }

    private float inQuadrature(float[] query, int at, float[] centre, int pair) {
      int first = waves.rope().first(pair);
      int second = waves.rope().second(pair);
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
