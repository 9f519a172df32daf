package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.model.Rope;
import java.util.Arrays;

/**
 * What queries score with the centre of sketched keys, which the rotary embedding turns with the
 * position: the sum of one wave of the position for each pair of dimensions. Waves that turn
 * noticeably within a block of tokens are added up token by token; of the slow ones, the parabola
 * that they make in the block. Both are products with matrices that all blocks share.
 */
final class CentreScores {
  private static final int BLOCK = KeySketches.BLOCK_TOKENS;
  private static final float MIDDLE = (BLOCK - 1) / 2f;

  /**
   * Radians in half a block up to which a wave counts as a parabola: its cubic term stays below
   * 0.3^3 / 6 = 0.0045 of the wave.
   */
  private static final double SLOW = 0.3;

  /** Columns of a block in {@link #parabolas}: height, slope and curvature, and one to fill up. */
  private static final int TERMS = 4;

  private final Rope rope;
  private final PairRotation rotation;
  private final int[] fast;
  private final int[] slow;

  /** Rows of {@link #shapes}. */
  private final int depth;

  /** {@code [depth][BLOCK]}: cosine and sine of each fast pair in a block, then 1, u and u^2. */
  private final float[] shapes;

  /** Of the fast pairs at the blocks' first positions: {@code [block][pair]}. */
  private float[] cosines = {};

  private float[] sines = {};

  /** {@code [cosine and sine of each slow pair][block * TERMS + term]}. */
  private float[] parabolas = {};

  private int columns;
  private int blocks;

  CentreScores(Rope rope) {
    this.rope = rope;
    this.rotation = new PairRotation(rope);
    int[] pairs = new int[rotation.pairs()];
    int fastCount = 0;
    int end = pairs.length;
    for (int pair = 0; pair < pairs.length; pair++) {
      if (Math.abs(rotation.frequency(pair)) * MIDDLE > SLOW) {
        pairs[fastCount++] = pair;
      } else {
        pairs[--end] = pair;
      }
    }
    this.fast = Arrays.copyOf(pairs, fastCount);
    this.slow = Arrays.copyOfRange(pairs, fastCount, pairs.length);
    this.depth = 2 * fast.length + 3;
    this.shapes = new float[depth * BLOCK];
    for (int t = 0; t < BLOCK; t++) {
      for (int i = 0; i < fast.length; i++) {
        double angle = (double) t * rotation.frequency(fast[i]);
        shapes[i * BLOCK + t] = (float) Math.cos(angle);
        shapes[(fast.length + i) * BLOCK + t] = (float) Math.sin(angle);
      }
      float u = t - MIDDLE;
      shapes[(depth - 3) * BLOCK + t] = 1;
      shapes[(depth - 2) * BLOCK + t] = u;
      shapes[(depth - 1) * BLOCK + t] = u * u;
    }
  }

  boolean isOf(Rope other) {
    return rope == other;
  }

  /** Makes the tables reach so many tokens. */
  void ensure(int tokens) {
    int needed = (tokens + BLOCK - 1) / BLOCK;
    if (needed <= blocks) {
      return;
    }
    blocks = Math.max(needed, 2 * blocks);
    cosines = new float[blocks * fast.length];
    sines = new float[blocks * fast.length];
    columns = AttentionKernels.paddedColumns(blocks * TERMS);
    parabolas = new float[2 * slow.length * columns + AttentionKernels.SLACK];
    for (int block = 0; block < blocks; block++) {
      fillBlock(block);
    }
  }

  private void fillBlock(int block) {
    for (int i = 0; i < fast.length; i++) {
      double angle = (double) block * BLOCK * rotation.frequency(fast[i]);
      cosines[block * fast.length + i] = (float) Math.cos(angle);
      sines[block * fast.length + i] = (float) Math.sin(angle);
    }
    for (int i = 0; i < slow.length; i++) {
      double frequency = rotation.frequency(slow[i]);
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

  /** The queries of a group and a head's centre: each wave's part in phase and its quadrature. */
  final class Query {
    private float[] cosine = {};
    private float[] sine = {};
    private float[] slowWaves = {};
    private float[] heights = {};

    /**
     * @param queries {@code [group][headSize]}, scaled
     * @param centre of the head's keys, at position 0
     */
    void set(
        AttentionKernels kernels,
        float[] queries,
        int group,
        int headSize,
        float[] centre,
        int tokens) {
      int rows = AttentionKernels.paddedRows(group);
      if (cosine.length < group * fast.length || slowWaves.length < rows * 2 * slow.length) {
        cosine = new float[group * fast.length];
        sine = new float[group * fast.length];
        slowWaves = new float[rows * 2 * slow.length];
      }
      if (heights.length < rows * columns + AttentionKernels.SLACK) {
        heights = new float[rows * columns + AttentionKernels.SLACK];
      }
      for (int g = 0; g < group; g++) {
        for (int i = 0; i < fast.length; i++) {
          cosine[g * fast.length + i] = inPhase(queries, g * headSize, centre, fast[i]);
          sine[g * fast.length + i] = inQuadrature(queries, g * headSize, centre, fast[i]);
        }
        int at = g * 2 * slow.length;
        for (int i = 0; i < slow.length; i++) {
          slowWaves[at + i] = inPhase(queries, g * headSize, centre, slow[i]);
          slowWaves[at + slow.length + i] = inQuadrature(queries, g * headSize, centre, slow[i]);
        }
      }
      int used = AttentionKernels.paddedColumns((tokens + BLOCK - 1) / BLOCK * TERMS);
      kernels.multiply(
          slowWaves,
          2 * slow.length,
          parabolas,
          0,
          columns,
          heights,
          columns,
          rows,
          used,
          2 * slow.length);
    }

    private float inPhase(float[] query, int at, float[] centre, int pair) {
      int first = rotation.first(pair);
      int second = rotation.second(pair);
      return query[at + first] * centre[first] + query[at + second] * centre[second];
    }

    private float inQuadrature(float[] query, int at, float[] centre, int pair) {
      int first = rotation.first(pair);
      int second = rotation.second(pair);
      return query[at + second] * centre[first] - query[at + first] * centre[second];
    }

    /**
     * Fills {@code scores[(g * count + b) * BLOCK_TOKENS + t]} for the group and {@code count}
     * blocks.
     */
    void score(AttentionKernels kernels, int group, int firstBlock, int count, Scratch own) {
      int rows = AttentionKernels.paddedRows(group * count);
      own.ensure(rows * depth, rows * BLOCK);
      float[] factors = own.factors;
      for (int g = 0; g < group; g++) {
        for (int b = 0; b < count; b++) {
          int row = (g * count + b) * depth;
          turn(g * fast.length, (firstBlock + b) * fast.length, factors, row);
          int terms = g * columns + (firstBlock + b) * TERMS;
          System.arraycopy(heights, terms, factors, row + depth - 3, 3);
        }
      }
      kernels.multiply(factors, depth, shapes, 0, BLOCK, own.scores, BLOCK, rows, BLOCK, depth);
    }

    private void turn(int wave, int block, float[] factors, int row) {
      int count = fast.length;
      for (int i = 0; i < count; i++) {
        float a = cosine[wave + i];
        float b = sine[wave + i];
        float c = cosines[block + i];
        float s = sines[block + i];
        factors[row + i] = a * c + b * s;
        factors[row + count + i] = b * c - a * s;
      }
    }
  }

  /** What one thread works in. */
  static final class Scratch {
    float[] scores = {};
    private float[] factors = {};

    private void ensure(int factorCount, int scoreCount) {
      if (factors.length < factorCount) {
        factors = new float[factorCount];
      }
      if (scores.length < scoreCount + AttentionKernels.SLACK) {
        scores = new float[scoreCount + AttentionKernels.SLACK];
      }
    }
  }
}
