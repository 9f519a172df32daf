package dev.kvfreeze.freeze;

import java.util.SplittableRandom;

/**
 * Watches the entropy of one document's next-token distributions (arXiv 2512.11221, entropy-guided
 * recovery). A spike is an entropy above the model's threshold and far above its own running level.
 * The first calls for the mildest recovery; while spikes follow each other the level rises; after
 * calm steps it falls back. Each recovery gets a step to show its effect.
 */
public final class EntropyGuard {
  /** Steps until the running level means something. */
  private static final int WARM_UP_STEPS = 8;

  /** Weight of a new entropy in the running level. */
  private static final double ADAPTATION = 0.1;

  /** Calm steps after which the next spike is a first one again. */
  private static final int CALM_STEPS = 8;

  private final GuardOptions options;
  private final SplittableRandom random;
  private double mean;
  private double deviation;
  private int observed;
  private int stage;
  private int calm;
  private int rewinds;
  private boolean recovered;

  /**
   * @param seed of the control's random steps
   */
  public EntropyGuard(GuardOptions options, long seed) {
    this.options = options;
    this.random = new SplittableRandom(seed);
  }

  /** Takes the entropy of a step in nats; returns the recovery that it calls for. */
  public RecoveryLevel observe(double entropy) {
    boolean spike =
        switch (options.mode()) {
          case OFF -> false;
          case ENTROPY -> observed >= WARM_UP_STEPS && high(entropy);
          case RANDOM -> random.nextDouble() < options.randomRate();
        };
    if (!spike) {
      double distance = Math.abs(entropy - mean);
      mean = observed == 0 ? entropy : mean + ADAPTATION * (entropy - mean);
      deviation += observed == 0 ? 0 : ADAPTATION * (distance - deviation);
      observed++;
      recovered = false;
      if (++calm >= CALM_STEPS) {
        stage = 0;
      }
      return RecoveryLevel.NONE;
    }
    calm = 0;
    if (recovered) {
      // The step right after a recovery only shows its effect; the next spike escalates.
      recovered = false;
      return RecoveryLevel.NONE;
    }
    recovered = true;
    stage = Math.min(stage + 1, RecoveryLevel.REWALK.ordinal());
    if (stage == RecoveryLevel.REWALK.ordinal() && rewinds++ >= options.maxRewinds()) {
      return RecoveryLevel.NONE;
    }
    return RecoveryLevel.values()[stage];
  }

  private boolean high(double entropy) {
    return entropy > options.threshold() && entropy > mean + options.spread() * deviation;
  }
}
