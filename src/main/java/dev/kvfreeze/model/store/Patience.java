package dev.kvfreeze.model.store;

import java.time.Duration;

/**
 * How long a download waits.
 *
 * @param firstPause before the second attempt; doubled for each further one without progress
 * @param stallLimit without a byte until a connection counts as lost
 */
record Patience(Duration firstPause, Duration stallLimit) {
  static final Patience USUAL = new Patience(Duration.ofSeconds(1), Duration.ofSeconds(60));
}
