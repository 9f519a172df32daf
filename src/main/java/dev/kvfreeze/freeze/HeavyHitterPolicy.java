package dev.kvfreeze.freeze;

/**
 * H2O (Zhang et al., arXiv 2306.14048): of the cap, half goes to the newest tokens and half to
 * those that got most attention so far, in prefill too; what leaves never comes back. Reads {@code
 * policy.cap} and {@code sinkTokens}.
 *
 * <p>Departures: the unit is a page; prefill decides after each chunk.
 */
public final class HeavyHitterPolicy implements HeadwisePolicy {
  static final String NAME = "h2o";

  private final PolicyOptions options;

  public HeavyHitterPolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return true;
  }

  @Override
  public HeadPolicy head(CacheShape shape) {
    return new Head(shape);
  }

  @Override
  public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
    double capped = AdaptiveSequence.budgetTokens(options, shape, lengths.total());
    return (int)
        Math.min(
            lengths.total() + shape.pageTokens(),
            capped + lengths.chunkTokens() + 2.0 * shape.pageTokens());
  }

  private final class Head implements HeadPolicy {
    private final CacheShape shape;
    private final CappedHead pages = new CappedHead(options);

    Head(CacheShape shape) {
      this.shape = shape;
    }

    @Override
    public void step(StepKind kind, HeadView view, PageMover mover) {
      float[] sums = pages.scores(view.pageCount());
      for (int page = 0; page < view.pageCount(); page++) {
        sums[page] += view.mass(page);
      }
      double budget = AdaptiveSequence.budgetTokens(options, shape, view.length());
      pages.keepBest(budget, Math.max(options.recentTokens(), (int) (budget / 2)), view, mover);
    }

    @Override
    public void truncate(int pageCount) {
      pages.truncate(pageCount);
    }
  }
}
