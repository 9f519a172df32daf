package dev.kvfreeze.freeze;

/**
 * The knobs of the entropy guard.
 *
 * @param mode when recoveries happen
 * @param threshold entropy in nats below which nothing is a spike: a high percentile of the model's
 *     own, found by {@code jobs/kvfreeze calibrate}
 * @param spread how many mean deviations above its running level an entropy must be to be a spike
 * @param windowSteps N: how far back the window reset looks
 * @param rewindTokens r: tokens that a rewalk generates again
 * @param maxRewinds most rewalks of a document, so that every document ends
 * @param randomRate recoveries a step in mode {@code random}
 */
public record GuardOptions(
    Mode mode,
    double threshold,
    double spread,
    int windowSteps,
    int rewindTokens,
    int maxRewinds,
    double randomRate) {
  /** When recoveries happen. */
  public enum Mode {
    OFF,
    /** When the entropy of the next token rises. */
    ENTROPY,
    /** At random steps: the control of an ablation. */
    RANDOM
  }

  /** Without a guard. */
  public static final GuardOptions OFF = new GuardOptions(Mode.OFF, 4, 3, 16, 8, 2, 0);

  public GuardOptions {
    PolicyOptions.require(
        threshold >= 0 && threshold < 100, "guard threshold", threshold, "0 to 100");
    PolicyOptions.require(spread >= 0 && spread < 1e6, "guard spread", spread, "0 to 1000000");
    PolicyOptions.require(windowSteps >= 1, "guard window", windowSteps, "at least 1");
    PolicyOptions.require(rewindTokens >= 1, "guard rewind", rewindTokens, "at least 1");
    PolicyOptions.require(maxRewinds >= 0, "guard rewinds", maxRewinds, "at least 0");
    PolicyOptions.require(
        randomRate >= 0 && randomRate <= 1, "guard random rate", randomRate, "0 to 1");
  }

  public GuardOptions withMode(Mode other) {
    return new GuardOptions(
        other, threshold, spread, windowSteps, rewindTokens, maxRewinds, randomRate);
  }
}
