package dev.kvfreeze.freeze;

/**
 * A cache policy: which pages are active. Stateless and shared; the state is in the {@link
 * SequencePolicy} made for each sequence.
 */
public interface FreezePolicy {
  /** Its name in configuration and in result rows. */
  String name();

  /** Whether it ever freezes a page; one that does not needs no backups. */
  default boolean mayFreeze() {
    return true;
  }

  /** Whether {@link HeadView#mass} must be measured in a step of this kind. */
  default boolean wantsMass(StepKind kind) {
    return false;
  }

  /** Bits a dimension of the keys' resident sketches; 0 for none. */
  default int sketchPlanes() {
    return 0;
  }

  /** What estimates the pages in decode steps. */
  default PageEstimates estimates() {
    return sketchPlanes() > 0 ? PageEstimates.SKETCHES : PageEstimates.NONE;
  }

  /**
   * Tokens at the end of a prompt of so many that are a chunk of their own, to be observed; 0 for
   * any.
   */
  default int observedTokens(int promptTokens, CacheShape shape) {
    return 0;
  }

  /** When and how a sequence under this policy recovers. */
  default GuardOptions guard() {
    return GuardOptions.OFF;
  }

  /** Whether a full reset reads one step exactly, with passing pages, instead of thawing all. */
  default boolean recoversByReading() {
    return false;
  }

  /** Whether {@link #sharing} makes it freeze deeper: it keeps to a cap. */
  default boolean tightens() {
    return false;
  }

  /** The same policy under a share of its cap; itself where it has none. */
  default FreezePolicy sharing(CapShare share) {
    return this;
  }

  /** Fresh state for one sequence. */
  SequencePolicy sequence(CacheShape shape);

  /**
   * The most tokens that can be active at once, mean over the heads; admission reserves pages for
   * as many. All of them, unless a policy bounds them.
   */
  default int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
    return lengths.total();
  }
}
