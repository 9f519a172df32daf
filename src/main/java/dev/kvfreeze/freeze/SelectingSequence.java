package dev.kvfreeze.freeze;

/** Attends to the best pages of each step, as many in every head, and frees none. */
final class SelectingSequence implements SequencePolicy {
  private final PolicyOptions options;
  private final CacheShape shape;
  private final int denseLayers;
  private final TopPages top;

  /**
   * @param denseLayers first layers that attend to all pages
   */
  SelectingSequence(PolicyOptions options, CacheShape shape, int denseLayers) {
    this.options = options;
    this.shape = shape;
    this.denseLayers = denseLayers;
    this.top = new TopPages(options);
  }

  @Override
  public boolean wantsEstimates(int layer, StepKind kind) {
    return kind == StepKind.DECODE && layer >= denseLayers;
  }

  @Override
  public void recall(int head, HeadView view, PageMover mover) {
    double budget = AdaptiveSequence.budgetTokens(options, shape, view.length());
    boolean[] chosen = top.choose(view, budget);
    for (int page = 0; page < view.pageCount(); page++) {
      if (chosen[page]) {
        mover.include(page);
      } else {
        mover.exclude(page);
      }
    }
  }

  @Override
  public void step(int head, StepKind kind, HeadView view, PageMover mover) {}
}
