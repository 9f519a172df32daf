package dev.kvfreeze.engine;

import dev.kvfreeze.cache.PrefilledContext;
import java.util.function.IntSupplier;

/**
 * How a document that is part of an evaluation departs from one of a user.
 *
 * @param prefilled keys and values of the prompt's beginning, read before, or null
 * @param decision when the policy decides while the prompt is read
 * @param forced the tokens to feed whatever the model would have said, or null
 * @param observer sees each distribution before its token is taken, or null
 */
record Trial(
    PrefilledContext prefilled,
    PolicyTrials.Decision decision,
    int[] forced,
    DistributionObserver observer) {
  static final Trial NONE = new Trial(null, PolicyTrials.Decision.EACH_CHUNK, null, null);

  int forced(int step, IntSupplier sampled) {
    return forced == null ? sampled.getAsInt() : forced[step];
  }
}
