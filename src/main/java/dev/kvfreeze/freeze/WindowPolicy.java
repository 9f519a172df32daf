package dev.kvfreeze.freeze;

/**
 * StreamingLLM (Xiao et al., arXiv 2309.17453): the first tokens, the attention sinks, and the
 * newest ones stay; everything between is frozen as the window moves over it, in prefill too, and
 * never thawed. Reads {@code sinkTokens} and {@code recentTokens}.
 *
 * <p>Departures: whole pages stay when any of their tokens is in the window, and tokens keep their
 * rotary position (the original counts positions inside the cache).
 */
public final class WindowPolicy implements HeadwisePolicy {
  static final String NAME = "window";

  private final PolicyOptions options;

  public WindowPolicy(PolicyOptions options) {
    this.options = options;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public HeadPolicy head(CacheShape shape) {
    return new Head();
  }

  @Override
  public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
    long page = options.pageTokens();
    long sinks = (options.sinkTokens() + page - 1) / page * page;
    long kept = sinks + options.recentTokens() + page + Math.max(1, lengths.chunkTokens());
    return (int) Math.min(lengths.total(), kept);
  }

  private final class Head implements HeadPolicy {
    /** Pages between the sinks and this one are frozen. */
    private int next;

    @Override
    public void step(StepKind kind, HeadView view, PageMover mover) {
      FreezablePages range = FreezablePages.of(view, options);
      next = Math.max(next, range.first());
      while (next < range.end()) {
        mover.freeze(next);
        if (view.active(next)) {
          return;
        }
        next++;
      }
    }

    @Override
    public void truncate(int pageCount) {
      next = Math.min(next, pageCount);
    }
  }
}
