package dev.kvfreeze.freeze;

import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Keeps random pages besides sinks and recent tokens, up to the cap, in prefill too: what any
 * choice must beat. Reads {@code policy.cap}, {@code sinkTokens} and {@code recentTokens}.
 */
public final class RandomPolicy implements HeadwisePolicy {
  static final String NAME = "random";

  private final PolicyOptions options;

  /** Heads draw differently, sequences alike. */
  private final AtomicLong heads = new AtomicLong();

  public RandomPolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public HeadPolicy head(CacheShape shape) {
    return new Head(shape, heads.getAndIncrement() % shape.heads());
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
    private final SplittableRandom random;
    private int drawn;

    Head(CacheShape shape, long seed) {
      this.shape = shape;
      this.random = new SplittableRandom(seed);
    }

    @Override
    public void step(StepKind kind, HeadView view, PageMover mover) {
      float[] scores = pages.scores(view.pageCount());
      for (; drawn < view.pageCount(); drawn++) {
        scores[drawn] = (float) random.nextDouble();
      }
      double budget = AdaptiveSequence.budgetTokens(options, shape, view.length());
      pages.keepBest(budget, options.recentTokens(), view, mover);
    }

    @Override
    public void truncate(int pageCount) {
      drawn = Math.min(drawn, pageCount);
    }
  }
}
