package dev.kvfreeze.device;

/**
 * The shape of every page of a pool: {@code pageTokens} keys, then as many values, of one KV head.
 *
 * <p>In 32-bit words, with {@code w = headSize / format.valuesPerWord()}: first the keys
 * transposed, {@code keys[w][pageTokens]}, so that a vector register holds one dimension of
 * neighbouring tokens and a dot product needs no horizontal sum; then the values, {@code
 * values[pageTokens][w]}. In bf16 the word {@code j} of a row holds dimension {@code j} in its low
 * half and dimension {@code j + headSize / 2} in its high half.
 */
public record PageLayout(int headSize, int pageTokens, KvFormat format) {
  public PageLayout {
    if (headSize < 2 || headSize % 2 != 0) {
      throw new IllegalArgumentException("head size must be even and positive, found " + headSize);
    }
    if (pageTokens < 1) {
      throw new IllegalArgumentException("a page holds at least one token, found " + pageTokens);
    }
  }

  /** Words of one token's key, and of its value. */
  public int wordsPerToken() {
    return headSize / format.valuesPerWord();
  }

  /** Words before the values begin. */
  public int valueOffset() {
    return wordsPerToken() * pageTokens;
  }

  public int wordsPerPage() {
    return 2 * valueOffset();
  }

  public int pageBytes() {
    return 4 * wordsPerPage();
  }
}
