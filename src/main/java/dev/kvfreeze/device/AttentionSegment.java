package dev.kvfreeze.device;

/**
 * The consecutive rows of one sequence in a forward pass, and the pages of one layer they attend
 * over.
 *
 * @param firstRow first row in the activations
 * @param rowCount rows: 1 for a decode step, a chunk's length in prefill
 * @param firstPosition position in the sequence of the first row's token; row r attends to
 *     positions up to and including {@code firstPosition + r}
 * @param heads pages by KV head
 */
public record AttentionSegment(int firstRow, int rowCount, int firstPosition, HeadPages[] heads) {}
