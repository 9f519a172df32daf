package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.Rope;
import java.util.Arrays;

/**
 * How the waves of a centre turn, for the native kernels, see {@link CentreWaves}. A block's turn
 * is that of every {@link #FINE_BLOCKS}th block and then that of so many blocks from there: tables
 * of all blocks would be 130 KB at 8,192 tokens, which each layer would read from memory anew,
 * since a layer's weights push them out of the caches.
 */
final class CentreTables {
  /** Blocks that one entry of the coarse table reaches, as in sketch_call.h. */
  static final int FINE_BLOCKS = 16;

  /** What a cosine of 1 is in {@link #shapes}. */
  static final int SHAPE_UNIT = 1 << 14;

  private static final int BLOCK = CentreWaves.BLOCK;
  private static final int TERMS = RunPair.TERMS;
  private static final int COARSE_TOKENS = FINE_BLOCKS * BLOCK;

  /** For centres that do not turn. */
  static final CentreTables NONE = new CentreTables(CentreWaves.NONE);

  private final CentreWaves waves;
  private final int stride;
  private final int slowStride;
  private final int[] pairs;
  private final int[] shapes;
  private float[] turns;
  private int coarse;

  CentreTables(Rope rope) {
    this(CentreWaves.of(rope));
  }

  private CentreTables(CentreWaves waves) {
    this.waves = waves;
    stride = CentreWaves.padded(waves.fast().length);
    slowStride = CentreWaves.padded(waves.slow().length);
    pairs = new int[2 * (waves.fast().length + waves.slow().length)];
    listPairs(waves.fast(), 0);
    listPairs(waves.slow(), 2 * waves.fast().length);
    shapes = new int[waves.fast().length * BLOCK];
    fillShapes();
    turns = new float[coarseAt(0)];
    fillFine();
  }

  private void listPairs(int[] of, int at) {
    for (int i = 0; i < of.length; i++) {
      pairs[at + i] = waves.rope().first(of[i]);
      pairs[at + of.length + i] = waves.rope().second(of[i]);
    }
  }

  private void fillShapes() {
    for (int i = 0; i < waves.fast().length; i++) {
      for (int t = 0; t < BLOCK; t++) {
        double angle = waves.rope().angle(waves.fast()[i], t);
        int cosine = (int) Math.round(Math.cos(angle) * SHAPE_UNIT);
        int sine = (int) Math.round(Math.sin(angle) * SHAPE_UNIT);
        shapes[i * BLOCK + t] = sine << 16 | cosine & 0xffff;
      }
    }
  }

  private void fillFine() {
    int columns = FINE_BLOCKS * TERMS;
    int parabolas = 2 * FINE_BLOCKS * stride;
    for (int block = 0; block < FINE_BLOCKS; block++) {
      fill(waves.fast(), block * BLOCK, block * stride, (FINE_BLOCKS + block) * stride);
      for (int i = 0; i < waves.slow().length; i++) {
        int at = parabolas + i * columns + block * TERMS;
        waves.parabola(i, block, turns, at, at + slowStride * columns);
      }
    }
  }

  private void fill(int[] of, int token, int cosinesAt, int sinesAt) {
    for (int i = 0; i < of.length; i++) {
      double angle = waves.rope().angle(of[i], token);
      turns[cosinesAt + i] = (float) Math.cos(angle);
      turns[sinesAt + i] = (float) Math.sin(angle);
    }
  }

  private int coarseAt(int entry) {
    int fine = 2 * FINE_BLOCKS * (stride + slowStride * TERMS);
    return fine + entry * 2 * (stride + slowStride);
  }

  /** Makes the tables reach so many tokens. */
  void ensure(int tokens) {
    int needed = (tokens + COARSE_TOKENS - 1) / COARSE_TOKENS;
    if (needed <= coarse) {
      return;
    }
    int from = coarse;
    coarse = Math.max(needed, 2 * coarse);
    turns = Arrays.copyOf(turns, coarseAt(coarse));
    int width = stride + slowStride;
    for (int entry = from; entry < coarse; entry++) {
      int at = coarseAt(entry);
      fill(waves.fast(), entry * COARSE_TOKENS, at, at + width);
      fill(waves.slow(), entry * COARSE_TOKENS, at + stride, at + width + stride);
    }
  }

  /** Waves that turn noticeably within a block. */
  int fast() {
    return waves.fast().length;
  }

  /** The same, padded to whole registers. */
  int stride() {
    return stride;
  }

  int slow() {
    return waves.slow().length;
  }

  int slowStride() {
    return slowStride;
  }

  /** First dimensions of the fast waves, their second ones, then those of the slow ones. */
  int[] pairs() {
    return pairs;
  }

  /**
   * Fine cosines of the fast waves {@code [block][stride]}, their sines, fine parabolas of the slow
   * ones {@code [in phase and in quadrature][slowStride][block * TERMS]}, then by coarse entry
   * cosines of all waves {@code [stride + slowStride]} and sines.
   */
  float[] turns() {
    return turns;
  }

  /**
   * Of the fast waves from a block's beginning: {@code [fast][BLOCK]}, times {@link #SHAPE_UNIT},
   * the cosine in the low half of a word and the sine in the high one.
   */
  int[] shapes() {
    return shapes;
  }
}
