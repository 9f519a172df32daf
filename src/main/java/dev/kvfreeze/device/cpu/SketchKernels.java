package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;

/**
 * The arithmetic of sketch scoring on one thread, over two runs of {@link KeySketches#RUN_TOKENS}
 * tokens that may lie anywhere. Scores of the first run come first, those of the second after them.
 * Stateless.
 */
interface SketchKernels {
  int RUN = KeySketches.RUN_TOKENS;

  /** Queries of {@link #products3} and {@link #finish3}. */
  int TOGETHER = 3;

  /**
   * {@code products[to + t] = sum over d of query[queryAt + d] * field(t, d)} for two runs of
   * tokens, where {@code field} is the code of dimension d in its place of {@code bits[at + d /
   * codes * BLOCK_TOKENS + t]}, read as a signed number: the queries are scaled by the places'
   * powers of two, see {@link SketchedQuery}.
   *
   * @param planes bits of a code
   */
  void products1(
      int[] bits,
      int at0,
      int at1,
      int count,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to);

  /** The same for three queries {@code count} apart, products {@code stride} apart. */
  void products3(
      int[] bits,
      int at0,
      int at1,
      int count,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to,
      int stride);

  /**
   * Turns waves to the first position of a run: {@code factors[to + i] = cosine[at + i] *
   * cosines[tableAt + i] + sine[at + i] * sines[tableAt + i]}, and their quadrature {@code stride}
   * later. All rows are padded to whole registers.
   */
  void turn(
      float[] cosine,
      float[] sine,
      int at,
      float[] cosines,
      float[] sines,
      int tableAt,
      int stride,
      float[] factors,
      int to);

  /**
   * Makes scores of the products at {@code scores[to]} in place: the offset added, the excess
   * taken, times the tokens' steps, plus the run's parabola.
   *
   * @param query of the group
   */
  void finish(RunPair runs, int query, float[] scores, int to);

  /** Adds what a query scores with the waves that turn within a run. */
  void addWaves1(RunPair runs, int query, float[] scores, int to);

  /** The same for three queries from {@code query} on, scores {@code stride} apart. */
  void addWaves3(RunPair runs, int query, float[] scores, int to, int stride);
}
