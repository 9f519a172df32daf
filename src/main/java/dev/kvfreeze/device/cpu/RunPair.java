package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;

/** What {@link SketchKernels} need to make scores of the products of two runs of tokens. */
final class RunPair {
  /** Numbers of a parabola: height, slope, curvature, and one to fill up. */
  static final int TERMS = 4;

  private static final int RUN = KeySketches.RUN_TOKENS;

  /** Position of a token in its run, from the run's middle. */
  static final float[] PLACES = new float[RUN];

  static {
    for (int t = 0; t < RUN; t++) {
      PLACES[t] = t - (RUN - 1) / 2f;
    }
  }

  /** Steps of the first run's tokens, then of the second's. */
  final float[] steps = new float[2 * RUN];

  /** By query, see {@link SketchedQuery#offsets}. */
  float[] offsets = {};

  /** By query, see {@link SketchedQuery#excess}. */
  float[] excess = {};

  /** {@code [query][run][TERMS]}: the parabola that the slow waves make in the run. */
  float[] parabolas = {};

  /** Waves that turn noticeably within a run. */
  int waves;

  /** From a wave's factor to its quadrature's. */
  int waveStride;

  /** {@code [query][run][2 * waveStride]}. */
  float[] factors = {};

  /** {@code [2 * waveStride][RUN]}: cosines, then sines, of the waves from a run's beginning. */
  float[] shapes = {};

  /** Makes room for a group's parabolas and for so many waves each. */
  void open(int group, int stride, int waveCount, float[] waveShapes) {
    if (parabolas.length < group * 2 * TERMS) {
      parabolas = new float[group * 2 * TERMS];
    }
    if (factors.length < group * 4 * stride) {
      factors = new float[group * 4 * stride];
    }
    waves = waveCount;
    waveStride = stride;
    shapes = waveShapes;
  }
}
