package dev.kvfreeze.freeze;

/**
 * Each decode step attends to the pages that get most attention in that very step by the exact
 * keys, as many in every head: what choosing pages by head can reach at best (the top-k oracle of
 * Quest, arXiv 2406.10774, and of SparQ, 2312.04985). It must see every key to choose, so it frees
 * nothing: its resident bytes are the full cache's. Reads {@code policy.cap}, {@code sinkTokens},
 * {@code recentTokens}, and {@code policy.sketchBits}: it attends to as many tokens as {@code
 * adaptive} has left under the same cap.
 */
public final class OraclePolicy implements FreezePolicy {
  static final String NAME = "oracle";

  private final PolicyOptions options;

  public OraclePolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean mayFreeze() {
    return false;
  }

  /** It has no sketches, but their bytes count towards the cap as those of {@code adaptive} do. */
  @Override
  public int sketchPlanes() {
    return options.adaptive().sketchBits();
  }

  @Override
  public PageEstimates estimates() {
    return PageEstimates.ATTENTION;
  }

  @Override
  public SequencePolicy sequence(CacheShape shape) {
    return new SelectingSequence(options, shape, 0);
  }
}
