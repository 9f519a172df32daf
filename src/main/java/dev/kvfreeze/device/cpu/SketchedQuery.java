package dev.kvfreeze.device.cpu;

/**
 * The queries of a group, turned like the keys and rounded to 4 bits a dimension, as bit planes: a
 * product with a key's bits is then a few ANDs and bit counts (RaBitQ, arXiv 2405.12497, section
 * 3.3).
 */
final class SketchedQuery {
  /** Bits a dimension. */
  static final int PLANES = 4;

  private static final int LARGEST = (1 << PLANES) - 1;

  /** {@code [query][plane][word]}. */
  long[] bits = {};

  /** Value of code 0, by query. */
  float[] lowest = {};

  /** Difference of neighbouring codes, by query. */
  float[] spacing = {};

  /** Sum over the dimensions, by query. */
  float[] sums = {};

  private float[] rotated = {};
  private float[] scaled = {};

  /** Takes {@code group} queries of {@code headSize} from {@code x[offset]} on, times a scale. */
  void set(float[] x, int offset, int group, int headSize, float scale) {
    int words = (headSize + 63) / 64;
    if (bits.length < group * PLANES * words || rotated.length < headSize) {
      bits = new long[group * PLANES * words];
      lowest = new float[group];
      spacing = new float[group];
      sums = new float[group];
      rotated = new float[headSize];
      scaled = new float[headSize];
    }
    RotationMatrix rotation = RotationMatrix.of(headSize);
    for (int g = 0; g < group; g++) {
      for (int d = 0; d < headSize; d++) {
        scaled[d] = x[offset + g * headSize + d] * scale;
      }
      rotation.rotate(scaled, 0, rotated);
      round(g, headSize, words);
    }
  }

  private void round(int g, int headSize, int words) {
    float low = Float.POSITIVE_INFINITY;
    float high = Float.NEGATIVE_INFINITY;
    float sum = 0;
    for (int d = 0; d < headSize; d++) {
      low = Math.min(low, rotated[d]);
      high = Math.max(high, rotated[d]);
      sum += rotated[d];
    }
    float step = (high - low) / LARGEST;
    float inverse = step == 0 ? 0 : 1 / step;
    lowest[g] = low;
    spacing[g] = step;
    sums[g] = sum;
    java.util.Arrays.fill(bits, g * PLANES * words, (g + 1) * PLANES * words, 0L);
    for (int d = 0; d < headSize; d++) {
      int code = Math.min(LARGEST, (int) ((rotated[d] - low) * inverse + 0.5f));
      for (int plane = 0; plane < PLANES; plane++) {
        bits[(g * PLANES + plane) * words + d / 64] |= (code >> plane & 1L) << (d % 64);
      }
    }
  }
}
