package dev.kvfreeze.model;

/**
 * Rotary position embedding (Su et al., arXiv 2104.09864) as data.
 *
 * @param inverseFrequencies one for each pair of dimensions, scaling (Llama 3, linear) already
 *     applied; their count times two is the number of rotated dimensions
 * @param pairing which dimensions form a pair
 */
public record Rope(float[] inverseFrequencies, Pairing pairing) {
  /** Which dimensions are rotated together. */
  public enum Pairing {
    /** (0,1), (2,3), ...: GGUF's llama weights. */
    INTERLEAVED,
    /** (0, n/2), (1, n/2 + 1), ...: qwen2, qwen3, gemma3. */
    HALF_SPLIT
  }

  /** Pairs of dimensions that are rotated. */
  public int pairs() {
    return inverseFrequencies.length;
  }

  /** A pair's first dimension. */
  public int first(int pair) {
    return pairing == Pairing.INTERLEAVED ? 2 * pair : pair;
  }

  /** A pair's second dimension. */
  public int second(int pair) {
    return pairing == Pairing.INTERLEAVED ? 2 * pair + 1 : pair + pairs();
  }

  /** The angle, in radians, by which a pair is turned over so many positions. */
  public double angle(int pair, int positions) {
    return (double) positions * inverseFrequencies[pair];
  }

  /** Turns {@code x[0 .. size)} by so many positions, back when negative, into {@code to}. */
  public void turn(float[] x, int positions, float[] to, int size) {
    System.arraycopy(x, 0, to, 0, size);
    for (int pair = 0; pair < pairs(); pair++) {
      double angle = angle(pair, positions);
      double cosine = Math.cos(angle);
      double sine = Math.sin(angle);
      double a = x[first(pair)];
      double b = x[second(pair)];
      to[first(pair)] = (float) (a * cosine - b * sine);
      to[second(pair)] = (float) (b * cosine + a * sine);
    }
  }
}
