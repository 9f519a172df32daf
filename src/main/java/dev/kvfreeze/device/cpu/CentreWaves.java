package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.model.Rope;
import java.util.Arrays;

/**
 * The pairs of dimensions of a rope, whose products with a query are waves of the position: those
 * that turn noticeably within a block of tokens, and the slow ones, of which a parabola in the
 * block is enough.
 *
 * @param fast pairs
 * @param slow pairs
 */
record CentreWaves(Rope rope, int[] fast, int[] slow) {
  static final int BLOCK = KeySketches.BLOCK_TOKENS;
  static final float MIDDLE = (BLOCK - 1) / 2f;

  /** Waves are padded to whole registers. */
  private static final int PADDING = 16;

  /**
   * Radians in half a block up to which a wave counts as a parabola: its cubic term stays below
   * 0.3^3 / 6 = 0.0045 of the wave.
   */
  private static final double SLOW = 0.3;

  /** Of a centre that does not turn: it has no rope. */
  static final CentreWaves NONE = new CentreWaves(null, new int[0], new int[0]);

  static CentreWaves of(Rope rope) {
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
    return new CentreWaves(
        rope, Arrays.copyOf(pairs, fastCount), Arrays.copyOfRange(pairs, fastCount, pairs.length));
  }

  static int padded(int waves) {
    return (waves + PADDING - 1) / PADDING * PADDING;
  }

  /** Writes what a slow wave adds to a block's parabola in phase, and what its quadrature does. */
  void parabola(int wave, int block, float[] to, int inPhase, int inQuadrature) {
    double frequency = rope.inverseFrequencies()[slow[wave]];
    double angle = (block * (double) BLOCK + MIDDLE) * frequency;
    double cosine = Math.cos(angle);
    double sine = Math.sin(angle);
    to[inPhase] = (float) cosine;
    to[inPhase + 1] = (float) (-frequency * sine);
    to[inPhase + 2] = (float) (-frequency * frequency / 2 * cosine);
    to[inQuadrature] = (float) sine;
    to[inQuadrature + 1] = (float) (frequency * cosine);
    to[inQuadrature + 2] = (float) (-frequency * frequency / 2 * sine);
  }
}
