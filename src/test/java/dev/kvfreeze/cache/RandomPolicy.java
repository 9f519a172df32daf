package dev.kvfreeze.cache;

import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.ExpectedLengths;
import dev.kvfreeze.freeze.HeadPolicy;
import dev.kvfreeze.freeze.HeadwisePolicy;
import dev.kvfreeze.freeze.StepKind;
import java.util.SplittableRandom;

/** Freezes and thaws pages at random, those it must not included: the cache has to refuse them. */
final class RandomPolicy implements HeadwisePolicy {
  private final SplittableRandom random;
  double thawShare = 0.5;

  RandomPolicy(long seed) {
    this.random = new SplittableRandom(seed);
  }

  @Override
  public String name() {
    return "random";
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return kind == StepKind.DECODE;
  }

  @Override
  public HeadPolicy head(CacheShape shape) {
    return (kind, view, mover) -> {
      for (int i = random.nextInt(4); i > 0 && view.pageCount() > 0; i--) {
        int page = random.nextInt(view.pageCount());
        if (random.nextDouble() < thawShare) {
          mover.thaw(page);
        } else {
          mover.freeze(page);
        }
      }
    };
  }

  @Override
  public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
    return lengths.total();
  }
}
