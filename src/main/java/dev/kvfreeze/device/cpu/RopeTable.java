package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.Rope;
import java.util.Arrays;

/**
 * Cosines and sines of the rows of one pass, kept until the positions change: all layers of a pass
 * share them, and memory stays bounded by the pass. Angles are computed in float64, since at
 * position 131,072 a float32 angle is off by up to 0.008.
 */
final class RopeTable {
  private final Rope rope;
  private final int pairs;
  private int[] positions = {};
  private float[] cosines = {};
  private float[] sines = {};
  private int rows;

  RopeTable(Rope rope) {
    this.rope = rope;
    pairs = rope.inverseFrequencies().length;
  }

  /** Makes the table that of {@code positions[0 .. rows)}. */
  void prepare(int[] wanted, int rows) {
    if (this.rows >= rows && Arrays.equals(positions, 0, rows, wanted, 0, rows)) {
      return;
    }
    if (cosines.length < rows * pairs) {
      cosines = new float[rows * pairs];
      sines = new float[rows * pairs];
    }
    positions = Arrays.copyOf(wanted, rows);
    this.rows = rows;
    float[] frequencies = rope.inverseFrequencies();
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < pairs; i++) {
        double angle = (double) wanted[r] * frequencies[i];
        cosines[r * pairs + i] = (float) Math.cos(angle);
        sines[r * pairs + i] = (float) Math.sin(angle);
      }
    }
  }

  int pairs() {
    return pairs;
  }

  /** {@code cosines[row * pairs + pair]}. */
  float[] cosines() {
    return cosines;
  }

  /** {@code sines[row * pairs + pair]}. */
  float[] sines() {
    return sines;
  }
}
