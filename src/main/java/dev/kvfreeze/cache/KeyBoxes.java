package dev.kvfreeze.cache;

import dev.kvfreeze.device.PageLayout;
import java.util.Arrays;

/**
 * The box around the keys of each page of one KV head: the smallest and largest value of every
 * dimension, in bf16 rounded outwards. They bound the score of any query with any key of the page
 * (Quest, arXiv 2406.10774). For baselines: made and scored on the host, in plain Java.
 */
final class KeyBoxes {
  private static final int SPARE_PAGES = 8;

  private final PageLayout layout;

  /** {@code [page][minima, then maxima]}. */
  private short[] bounds = {};

  private int pages;

  /** Share of the attention by page, filled by {@link #score}. */
  private float[] estimates = {};

  KeyBoxes(PageLayout layout) {
    this.layout = layout;
  }

  /** Resident bytes of a token's part of its page's box. */
  static int bytesPerToken(PageLayout layout) {
    int pageBytes = 2 * layout.headSize() * Short.BYTES;
    return (pageBytes + layout.pageTokens() - 1) / layout.pageTokens();
  }

  /** Pages that have a box, from the first on. */
  int pages() {
    return pages;
  }

  long bytes() {
    return (long) Short.BYTES * bounds.length;
  }

  /** Forgets the boxes of pages from {@code page} on. */
  void cut(int page) {
    pages = Math.min(pages, page);
  }

  void release() {
    pages = 0;
    bounds = new short[0];
  }

  /** Adds the box of the next page, a full one. */
  void add(int[] words) {
    int headSize = layout.headSize();
    int at = 2 * headSize * pages;
    if (bounds.length < at + 2 * headSize) {
      bounds = Arrays.copyOf(bounds, at + 2 * headSize * SPARE_PAGES);
    }
    for (int d = 0; d < headSize; d++) {
      float min = Float.POSITIVE_INFINITY;
      float max = Float.NEGATIVE_INFINITY;
      for (int token = 0; token < layout.pageTokens(); token++) {
        float key = layout.key(words, 0, token, d);
        min = Math.min(min, key);
        max = Math.max(max, key);
      }
      bounds[at + d] = below(min);
      bounds[at + headSize + d] = (short) (below(-max) ^ 0x8000);
    }
    pages++;
  }

  /** The largest bf16 number that is not above {@code value}. */
  private static short below(float value) {
    int bits = Float.floatToRawIntBits(value);
    boolean away = bits < 0 && (bits & 0xFFFF) != 0;
    return (short) ((bits >>> 16) + (away ? 1 : 0));
  }

  /**
   * Fills the estimates: the softmax over the pages from {@code firstPage} on of the highest score
   * that each query could have with a key in the page's box, mean over the queries.
   *
   * @param queries {@code group} queries of {@code headSize} from {@code offset} on
   */
  void score(float[] queries, int offset, int group, float scale, int firstPage) {
    if (estimates.length < pages) {
      estimates = new float[2 * pages];
    }
    Arrays.fill(estimates, 0);
    float[] scores = new float[pages];
    for (int g = 0; g < group; g++) {
      float max = Float.NEGATIVE_INFINITY;
      for (int page = firstPage; page < pages; page++) {
        scores[page] = scale * bound(queries, offset + g * layout.headSize(), page);
        max = Math.max(max, scores[page]);
      }
      double total = 0;
      for (int page = firstPage; page < pages; page++) {
        scores[page] = (float) Math.exp(scores[page] - max);
        total += scores[page];
      }
      for (int page = firstPage; page < pages; page++) {
        estimates[page] += (float) (scores[page] / (total * group));
      }
    }
  }

  private float bound(float[] queries, int offset, int page) {
    int headSize = layout.headSize();
    int minima = 2 * headSize * page;
    int maxima = minima + headSize;
    float sum = 0;
    for (int d = 0; d < headSize; d++) {
      float query = queries[offset + d];
      int at = query < 0 ? minima : maxima;
      sum += query * Float.intBitsToFloat(bounds[at + d] << 16);
    }
    return sum;
  }

  float estimate(int page) {
    return page < pages && page < estimates.length ? estimates[page] : 0;
  }
}
