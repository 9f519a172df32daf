package dev.kvfreeze.freeze;

/**
 * The sizes of a sequence's cache.
 *
 * @param pageBytes of a page of one KV head
 * @param summaryBytesPerToken resident bytes a token of what stays of frozen pages, sketches or
 *     boxes; 0 for nothing
 * @param comparedPageBytes of a page of the full cache that sizes are compared with: of 16-bit
 *     numbers, where pages have fewer
 */
public record CacheShape(
    int layers,
    int kvHeads,
    int pageTokens,
    int pageBytes,
    int summaryBytesPerToken,
    int comparedPageBytes) {
  /** Pages that are compared with what they are. */
  public CacheShape(
      int layers, int kvHeads, int pageTokens, int pageBytes, int summaryBytesPerToken) {
    this(layers, kvHeads, pageTokens, pageBytes, summaryBytesPerToken, pageBytes);
  }

  /** Tokens that so many tokens of the full cache have the bytes of. */
  double tokensFor(double fullTokens) {
    return fullTokens * comparedPageBytes / pageBytes;
  }

  /** Page tables: one for each KV head of each layer. */
  public int heads() {
    return layers * kvHeads;
  }

  /** What the sketches of {@code tokens} tokens take, in tokens of keys and values. */
  double sketchTokens(int tokens) {
    return (double) tokens * summaryBytesPerToken * pageTokens / pageBytes;
  }

  /** Bytes of the keys and values of one token in all heads. */
  double bytesPerToken() {
    return (double) heads() * pageBytes / pageTokens;
  }
}
