package dev.kvfreeze.model;

/**
 * Rotary position embedding (Su et al., arXiv 2104.09864) as data.
 *
 * @param inverseFrequencies one for each pair of dimensions, scaling (Llama 3, linear) already
 *     applied; their count times two is the number of rotated dimensions
 * @param pairing which dimensions form a pair
 */
public record Rope(float[] inverseFrequencies, Pairing pairing) {
  /** Which dimensions are rotated together. */
  public enum Pairing {
    /** (0,1), (2,3), ...: GGUF's llama weights. */
    INTERLEAVED,
    /** (0, n/2), (1, n/2 + 1), ...: qwen2, qwen3, gemma3. */
    HALF_SPLIT
  }
}
