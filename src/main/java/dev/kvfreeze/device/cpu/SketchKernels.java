package dev.kvfreeze.device.cpu;

/**
 * The arithmetic of sketch scoring on one thread, over blocks of {@link
 * dev.kvfreeze.device.KeySketches#BLOCK_TOKENS} tokens. Stateless.
 */
interface SketchKernels {
  /** Queries of {@link #products3}. */
  int TOGETHER = 3;

  /**
   * {@code products[to + t] = sum over d of query[queryAt + d] * field(t, d)} for a block's tokens,
   * where {@code field} is the code of dimension d in its place of {@code bits[at + d / codes *
   * BLOCK_TOKENS + t]}, read as a signed number: the queries are scaled by the places' powers of
   * two, see {@link SketchedQuery}.
   *
   * @param planes bits of a code
   */
  void products1(
      int[] bits,
      int at,
      int headSize,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to);

  /** The same for three queries {@code headSize} apart, products {@code stride} apart. */
  void products3(
      int[] bits,
      int at,
      int headSize,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to,
      int stride);
}
