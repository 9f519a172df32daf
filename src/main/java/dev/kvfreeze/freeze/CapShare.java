package dev.kvfreeze.freeze;

import java.util.function.Predicate;

/**
 * How much of its cap one sequence may use: all of it, and less while the pool is too small for
 * what the caps allow together. Owned by the sequence's cache; its policy reads it at every
 * decision.
 */
public final class CapShare {
  /** Below this quality would be a matter of luck: then documents wait. */
  public static final double LEAST = 1.0 / 16;

  /** What a sequence keeps of its share when the pool runs out once. */
  private static final double STEP = 0.8;

  private final double usual;
  private double share;
  private double least;

  private CapShare(double usual) {
    this.usual = usual;
    this.share = usual;
    this.least = usual;
  }

  /** The whole cap. */
  public static CapShare whole() {
    return new CapShare(1);
  }

  /**
   * The largest share, in the steps by which it is tightened, that a document of these lengths fits
   * with.
   *
   * @param fits whether it would, under a policy
   * @return null when not even the least does, or the policy has no cap to tighten
   */
  public static CapShare fitting(FreezePolicy policy, Predicate<FreezePolicy> fits) {
    for (double share = 1; share >= LEAST; share *= STEP) {
      CapShare candidate = new CapShare(share);
      if (fits.test(policy.sharing(candidate))) {
        return candidate;
      }
      if (!policy.tightens()) {
        return null;
      }
    }
    return null;
  }

  public double value() {
    return share;
  }

  /** The least that it has been. */
  public double least() {
    return least;
  }

  /** Takes a step down; false at the least. */
  public boolean tighten() {
    if (share * STEP < LEAST) {
      return false;
    }
    share *= STEP;
    least = Math.min(least, share);
    return true;
  }

  /** Back to what it was at first. */
  public void relax() {
    share = usual;
  }
}
