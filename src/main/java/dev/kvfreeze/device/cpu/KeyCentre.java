package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.model.Rope;
import java.util.Arrays;

/**
 * The centre of a head's keys over one page: what is subtracted from the key of each token, and the
 * mean of which it is made. With a rope it turns with the position.
 */
final class KeyCentre {
  private static final int KEPT_PAGES = 64;

  private final int headSize;
  private final int pageTokens;
  private final Rope rope;

  /** {@code [pair][token of the page]}. */
  private final float[] cosines;

  private final float[] sines;

  /** Of the last pages' first positions, since a layer's heads and the next layer have the same. */
  private final double[] pageCosines;

  private final double[] pageSines;
  private final int[] keptPages = new int[KEPT_PAGES];
  private final float[] here;

  private KeyCentre(KeySketches sketches) {
    this.headSize = sketches.headSize();
    this.pageTokens = sketches.pageTokens();
    this.rope = sketches.rope();
    int pairs = pairs();
    this.cosines = new float[pageTokens * pairs];
    this.sines = new float[pageTokens * pairs];
    this.pageCosines = new double[KEPT_PAGES * pairs];
    this.pageSines = new double[KEPT_PAGES * pairs];
    this.here = new float[headSize];
    Arrays.fill(keptPages, -1);
    for (int t = 0; t < pageTokens; t++) {
      for (int pair = 0; pair < pairs; pair++) {
        double angle = rope.angle(pair, t);
        cosines[pair * pageTokens + t] = (float) Math.cos(angle);
        sines[pair * pageTokens + t] = (float) Math.sin(angle);
      }
    }
  }

  /** {@code last} if it fits the sketches, else a new one. */
  static KeyCentre of(KeySketches sketches, KeyCentre last) {
    boolean fits =
        last != null
            && last.headSize == sketches.headSize()
            && last.pageTokens == sketches.pageTokens()
            && last.rope == sketches.rope();
    return fits ? last : new KeyCentre(sketches);
  }

  /**
   * Adds a page's keys, turned back to position 0, to {@code sums}.
   *
   * @param panel {@code [dimension][stride]}: the keys transposed
   */
  void addPage(float[] panel, int stride, int page, double[] sums) {
    float[] sum = new float[headSize];
    for (int d = 0; d < headSize; d++) {
      for (int t = 0; t < pageTokens; t++) {
        sum[d] += panel[d * stride + t];
      }
    }
    if (rope != null) {
      addPairs(panel, stride, sum);
      float[] turned = new float[headSize];
      rope.turn(sum, -page * pageTokens, turned, headSize);
      sum = turned;
    }
    for (int d = 0; d < headSize; d++) {
      sums[d] += sum[d];
    }
  }

  /** Of the rotated dimensions, the sums of the keys turned back to the page's first position. */
  private void addPairs(float[] panel, int stride, float[] sum) {
    int pairs = rope.pairs();
    for (int pair = 0; pair < pairs; pair++) {
      int first = rope.first(pair);
      int second = rope.second(pair);
      float a = 0;
      float b = 0;
      for (int t = 0; t < pageTokens; t++) {
        float cosine = cosines[pair * pageTokens + t];
        float sine = sines[pair * pageTokens + t];
        float x = panel[first * stride + t];
        float y = panel[second * stride + t];
        a += x * cosine + y * sine;
        b += y * cosine - x * sine;
      }
      sum[first] = a;
      sum[second] = b;
    }
  }

  int pairs() {
    return rope == null ? 0 : rope.pairs();
  }

  /** Whether a pair's dimensions lie beside each other, not half of what is turned apart. */
  boolean neighbours() {
    return rope != null && rope.pairing() == Rope.Pairing.INTERLEAVED;
  }

  /** Of the angles by which pairs turn from a page's first token: {@code [pair][token]}. */
  float[] cosines() {
    return cosines;
  }

  /** As {@link #cosines}. */
  float[] sines() {
    return sines;
  }

  /** The centre turned to a page's first position; overwritten by the next call. */
  float[] at(int page, float[] centre) {
    if (rope == null) {
      return centre;
    }
    int pairs = rope.pairs();
    int row = page % KEPT_PAGES;
    if (keptPages[row] != page) {
      keptPages[row] = page;
      for (int pair = 0; pair < pairs; pair++) {
        double angle = rope.angle(pair, page * pageTokens);
        pageCosines[row * pairs + pair] = Math.cos(angle);
        pageSines[row * pairs + pair] = Math.sin(angle);
      }
    }
    System.arraycopy(centre, 0, here, 0, headSize);
    for (int pair = 0; pair < pairs; pair++) {
      double cosine = pageCosines[row * pairs + pair];
      double sine = pageSines[row * pairs + pair];
      double a = centre[rope.first(pair)];
      double b = centre[rope.second(pair)];
      here[rope.first(pair)] = (float) (a * cosine - b * sine);
      here[rope.second(pair)] = (float) (b * cosine + a * sine);
    }
    return here;
  }

  /**
   * Subtracts the centre from a page's keys.
   *
   * @param panel {@code [dimension][stride]}: the keys transposed
   * @param keys out: {@code [token][headSize]}
   */
  void subtract(float[] centre, float[] panel, int stride, int page, float[] keys) {
    float[] here = at(page, centre);
    for (int t = 0; t < pageTokens; t++) {
      for (int d = 0; d < headSize; d++) {
        keys[t * headSize + d] = panel[d * stride + t] - here[d];
      }
    }
    if (rope != null) {
      subtractPairs(here, panel, stride, keys);
    }
  }

  private void subtractPairs(float[] here, float[] panel, int stride, float[] keys) {
    int pairs = rope.pairs();
    for (int t = 0; t < pageTokens; t++) {
      for (int pair = 0; pair < pairs; pair++) {
        int first = rope.first(pair);
        int second = rope.second(pair);
        float cosine = cosines[pair * pageTokens + t];
        float sine = sines[pair * pageTokens + t];
        keys[t * headSize + first] =
            panel[first * stride + t] - (here[first] * cosine - here[second] * sine);
        keys[t * headSize + second] =
            panel[second * stride + t] - (here[second] * cosine + here[first] * sine);
      }
    }
  }
}
