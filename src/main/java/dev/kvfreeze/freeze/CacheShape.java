package dev.kvfreeze.freeze;

/**
 * The sizes of a sequence's cache.
 *
 * @param pageBytes of a page of one KV head
 * @param sketchBytesPerToken resident bytes of one key's sketch, 0 without sketches
 */
public record CacheShape(
    int layers, int kvHeads, int pageTokens, int pageBytes, int sketchBytesPerToken) {
  /** Page tables: one for each KV head of each layer. */
  public int heads() {
    return layers * kvHeads;
  }

  /** What the sketches of {@code tokens} tokens take, in tokens of keys and values. */
  double sketchTokens(int tokens) {
    return (double) tokens * sketchBytesPerToken * pageTokens / pageBytes;
  }

  /** Bytes of the keys and values of one token in all heads. */
  double bytesPerToken() {
    return (double) heads() * pageBytes / pageTokens;
  }
}
