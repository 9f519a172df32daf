package dev.kvfreeze.engine;

import dev.kvfreeze.cache.SequenceCache;

/**
 * The tokens of one sequence in a forward pass: {@code tokens[offset .. offset + count)}, for which
 * {@code cache} has already been extended, so that they are its last {@code count} positions.
 */
public record ForwardSlice(SequenceCache cache, int[] tokens, int offset, int count) {
  int firstPosition() {
    return cache.length() - count;
  }
}
