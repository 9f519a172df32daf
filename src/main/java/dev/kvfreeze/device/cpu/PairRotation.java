package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.Rope;

/** Turns vectors of a head to positions and back, as the rotary embedding turns keys. */
final class PairRotation {
  private final float[] frequencies;
  private final Rope.Pairing pairing;

  PairRotation(Rope rope) {
    this.frequencies = rope.inverseFrequencies();
    this.pairing = rope.pairing();
  }

  int pairs() {
    return frequencies.length;
  }

  /** Radians a position. */
  float frequency(int pair) {
    return frequencies[pair];
  }

  /** The pair's first dimension. */
  int first(int pair) {
    return pairing == Rope.Pairing.INTERLEAVED ? 2 * pair : pair;
  }

  /** The pair's second dimension. */
  int second(int pair) {
    return pairing == Rope.Pairing.INTERLEAVED ? 2 * pair + 1 : pair + frequencies.length;
  }

  /** Turns {@code x} by so many positions, back when negative, into {@code to}. */
  void turn(float[] x, int positions, float[] to, int size) {
    System.arraycopy(x, 0, to, 0, size);
    for (int pair = 0; pair < frequencies.length; pair++) {
      double angle = (double) positions * frequencies[pair];
      double cosine = Math.cos(angle);
      double sine = Math.sin(angle);
      double a = x[first(pair)];
      double b = x[second(pair)];
      to[first(pair)] = (float) (a * cosine - b * sine);
      to[second(pair)] = (float) (b * cosine + a * sine);
    }
  }
}
