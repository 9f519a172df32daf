package dev.kvfreeze.freeze;

/**
 * SnapKV (Li et al., arXiv 2404.14469): when the context has been read, each head keeps the pages
 * that its last tokens attend to most, up to the cap; what leaves never comes back. What is
 * generated stays. Prefill holds the full cache. Reads {@code policy.cap}, {@code sinkTokens} and
 * {@code recentTokens}.
 *
 * <p>Departures: the unit is a page, so the pooling over neighbouring tokens is the page's sum.
 */
public final class SnapKvPolicy implements HeadwisePolicy {
  static final String NAME = "snapkv";

  private static final int OBSERVED_TOKENS = 64;

  private final PolicyOptions options;

  public SnapKvPolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return kind == StepKind.CONTEXT || kind == StepKind.QUESTION;
  }

  @Override
  public int observedTokens(int promptTokens, CacheShape shape) {
    return OBSERVED_TOKENS;
  }

  @Override
  public HeadPolicy head(CacheShape shape) {
    return new Head(shape);
  }

  private final class Head implements HeadPolicy {
    private final CacheShape shape;
    private final CappedHead pages = new CappedHead(options);

    Head(CacheShape shape) {
      this.shape = shape;
    }

    @Override
    public void step(StepKind kind, HeadView view, PageMover mover) {
      if (kind != StepKind.CONTEXT && kind != StepKind.QUESTION) {
        return;
      }
      float[] scores = pages.scores(view.pageCount());
      for (int page = 0; page < view.pageCount(); page++) {
        scores[page] = view.mass(page);
      }
      double budget = AdaptiveSequence.budgetTokens(options, shape, view.length());
      pages.keepBest(budget, options.recentTokens(), view, mover);
    }

    @Override
    public void truncate(int pageCount) {
      pages.truncate(pageCount);
    }
  }
}
