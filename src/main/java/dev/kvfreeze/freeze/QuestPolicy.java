package dev.kvfreeze.freeze;

/**
 * Quest (Tang et al., arXiv 2406.10774): each decode step attends to the pages with the highest
 * upper bound of attention by the smallest and largest values of their keys, as many as the cap
 * allows; the first two layers attend to all. Frees nothing, so its resident bytes are the full
 * cache's and the bounds'. Reads {@code policy.cap} (the bounds count), {@code sinkTokens} and
 * {@code recentTokens}.
 *
 * <p>Departures: sinks and recent tokens are always attended to; the query heads of a group share
 * their pages, by the mean of their softmax over the pages' bounds.
 */
public final class QuestPolicy implements FreezePolicy {
  static final String NAME = "quest";

  /** The paper's: attention is too spread out there. */
  private static final int DENSE_LAYERS = 2;

  private final PolicyOptions options;

  public QuestPolicy(PolicyOptions options) {
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

  @Override
  public PageEstimates estimates() {
    return PageEstimates.BOXES;
  }

  @Override
  public SequencePolicy sequence(CacheShape shape) {
    return new SelectingSequence(options, shape, DENSE_LAYERS);
  }
}
