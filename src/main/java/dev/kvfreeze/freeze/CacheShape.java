package dev.kvfreeze.freeze;

/**
 * The sizes of a sequence's cache.
 *
 * @param pageBytes of a page of one KV head
 * @param summaryBytesPerToken resident bytes a token of what stays of frozen pages, sketches or
 *     boxes; 0 for nothing
 */
public record CacheShape(
    int layers, int kvHeads, int pageTokens, int pageBytes, int summaryBytesPerToken) {
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
