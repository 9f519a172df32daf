package dev.kvfreeze.freeze;

/**
 * A cache policy: which pages are active. Stateless and shared; the state is in the {@link
 * HeadPolicy} made for each head.
 */
public interface FreezePolicy {
  /** Its name in configuration and in result rows. */
  String name();

  /** Whether it ever freezes a page; one that does not needs no backups. */
  default boolean mayFreeze() {
    return true;
  }

  /** Whether {@link HeadView#mass} must be measured in a step of this kind. */
  boolean wantsMass(StepKind kind);

  /** Fresh state for one KV head of one layer of one sequence. */
  HeadPolicy head();

  /**
   * The most tokens that can be active in a head at once, for a prompt and an output of these
   * lengths read in chunks of {@code chunkTokens}; admission reserves pages for as many.
   */
  int peakActiveTokens(int promptTokens, int outputTokens, int chunkTokens);
}
