package dev.kvfreeze.model;

/**
 * Grouped-query attention (GQA) of one layer.
 *
 * @param heads query heads
 * @param kvHeads KV heads; {@code heads} is a multiple of it
 * @param headSize dimensions of a head
 * @param scale factor of the dot products
 * @param window sliding window in tokens (a query sees the newest {@code window} positions, its own
 *     included), or 0 for all
 */
public record AttentionShape(int heads, int kvHeads, int headSize, float scale, int window) {
  public int groupSize() {
    return heads / kvHeads;
  }
}
