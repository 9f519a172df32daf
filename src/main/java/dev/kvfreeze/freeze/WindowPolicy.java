package dev.kvfreeze.freeze;

/**
 * Sinks and a recent window (StreamingLLM, arXiv 2309.17453): everything else is frozen as soon as it
 * leaves the window, while the prompt is read as well, and never thawed. Unlike StreamingLLM keys
 * keep the positions they were written with.
 */
final class WindowPolicy implements FreezePolicy {
  private final PolicyOptions options;

  WindowPolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return "window";
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return false;
  }

  @Override
  public HeadPolicy head() {
    return new Head();
  }

  @Override
  public int peakActiveTokens(int promptTokens, int outputTokens, int chunkTokens) {
    int pages = 4 * options.pageTokens();
    int bound = options.sinkTokens() + options.recentTokens() + chunkTokens + pages;
    return Math.min(promptTokens + outputTokens, bound);
  }

  private final class Head implements HeadPolicy {
    /** Pages before this one have been decided on. */
    private int decided;

    @Override
    public void step(StepKind kind, HeadView view, PageMover mover) {
      int pageTokens = view.pageTokens();
      int firstRecent = view.length() - options.recentTokens();
      // A rewind takes pages back to before the window; they are decided on again.
      decided = Math.min(decided, view.pageCount());
      while ((decided + 1) * pageTokens <= firstRecent) {
        if (decided * pageTokens >= options.sinkTokens()) {
          mover.freeze(decided);
        }
        decided++;
      }
    }
  }
}
