package dev.kvfreeze.freeze;

/**
 * After ArkVale (Chen et al., NeurIPS 2024): a filled page is backed up and leaves a digest, the
 * box around its keys; before the attention of each decode step the digests rank all pages, evicted
 * ones among the best come back and the worst leave. Boxes count towards the cap. Reads {@code
 * policy.cap}, {@code sinkTokens} and {@code recentTokens}.
 *
 * <p>Departures: a prompt is read with passing pages as by {@code adaptive}, so that the peak keeps
 * to the cap as well (the original evicts once the prompt is read); what is on the device is what
 * is attended to; the query heads of a group share their pages, by the mean of their softmax over
 * the boxes' bounds.
 */
public final class ArkValePolicy implements FreezePolicy {
  static final String NAME = "arkvale";

  private final PolicyOptions options;

  public ArkValePolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public PageEstimates estimates() {
    return PageEstimates.BOXES;
  }

  @Override
  public SequencePolicy sequence(CacheShape shape) {
    return new Sequence(shape);
  }

  /** While reading, one layer has all pages and the others a part of one; afterwards the cap. */
  @Override
  public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
    int page = shape.pageTokens();
    double reading = (double) (lengths.promptTokens() + page) / shape.layers() + 2 * page;
    double capped =
        AdaptiveSequence.budgetTokens(options, shape, lengths.total()) + lengths.chunkTokens();
    return (int)
        Math.min((long) lengths.total() + page, (long) Math.ceil(Math.max(reading, capped)));
  }

  private final class Sequence implements SequencePolicy {
    private final CacheShape shape;
    private final TopPages top = new TopPages(options);

    Sequence(CacheShape shape) {
      this.shape = shape;
    }

    @Override
    public boolean streams(int tokens) {
      return !(options.adaptive().cap() instanceof FreezeCap.None)
          && tokens + shape.pageTokens() > AdaptiveSequence.budgetTokens(options, shape, tokens);
    }

    @Override
    public boolean wantsEstimates(int layer, StepKind kind) {
      return kind == StepKind.DECODE;
    }

    @Override
    public void recall(int head, HeadView view, PageMover mover) {
      double budget = AdaptiveSequence.budgetTokens(options, shape, view.length());
      boolean[] chosen = top.choose(view, budget);
      for (int page = 0; page < view.pageCount(); page++) {
        if (!chosen[page]) {
          mover.freeze(page);
        }
      }
      for (int page = 0; page < view.pageCount(); page++) {
        if (chosen[page]) {
          mover.thaw(page);
        }
      }
    }

    /** The pages that passed while the prompt was read: the first decode step chooses of them. */
    @Override
    public void step(int head, StepKind kind, HeadView view, PageMover mover) {
      if (kind != StepKind.QUESTION) {
        return;
      }
      FreezablePages range = FreezablePages.of(view, options);
      for (int page = 0; page < view.pageCount(); page++) {
        if (page < range.first() || page >= range.end()) {
          mover.thaw(page);
        }
      }
    }
  }
}
