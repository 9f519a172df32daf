package dev.kvfreeze.freeze;

/**
 * What is known of a sequence when it asks for memory.
 *
 * @param promptTokens of the whole prompt
 * @param outputTokens most tokens to generate
 * @param chunkTokens tokens of a prompt that are read in one forward pass
 */
public record ExpectedLengths(int promptTokens, int outputTokens, int chunkTokens) {
  /** Tokens at the end. */
  public int total() {
    return Math.addExact(promptTokens, outputTokens);
  }
}
