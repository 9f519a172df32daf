package dev.kvfreeze.freeze;

import java.util.Arrays;

/**
 * ASR-KF as published (arXiv 2512.11221): timers only. In each decode step, tokens outside the
 * newest K whose relevance is below tau are detected; a token detected c times in the last W steps
 * is frozen for {@code d = floor(sqrt(c) / k)} steps; when its timer has run out it is thawed and
 * scored again in the next step (rolling re-evaluation). Prefill is exact.
 *
 * <p>Departures, all marked:
 *
 * <ul>
 *   <li>The unit is a page of one layer and one KV head; with {@code pageTokens = 1} a token of one
 *       head, where the paper freezes a token of a layer.
 *   <li>Relevance is the attention probability of the page's tokens in uniform shares, {@code mass
 *       * attended tokens / tokens in the page}, where the paper thresholds the mean attention
 *       magnitude itself; so tau means the same at every context length.
 *   <li>c is counted in two buckets ({@link DetectionHistory}).
 * </ul>
 */
public final class PaperPolicy implements HeadwisePolicy {
  static final String NAME = "paper";

  private final PolicyOptions options;
  private final FreezeSchedule schedule;

  public PaperPolicy(PolicyOptions options) {
    this.options = options;
    this.schedule = new FreezeSchedule(options.softness());
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return kind == StepKind.DECODE;
  }

  @Override
  public GuardOptions guard() {
    return options.guard();
  }

  @Override
  public HeadPolicy head(CacheShape shape) {
    return new Head();
  }

  /** Everything: prefill is exact, and every timer may run out at once. */
  private final class Head implements HeadPolicy {
    private final DetectionHistory history = new DetectionHistory(options.historySteps());

    /** Steps a frozen page has still to wait; 0 for an active one. */
    private short[] timers = new short[16];

    /** Step in which a page was frozen last. */
    private int[] frozenAt = new int[16];

    private int step;

    @Override
    public void step(StepKind kind, HeadView view, PageMover mover) {
      if (kind != StepKind.DECODE) {
        return;
      }
      FreezablePages range = FreezablePages.of(view, options);
      step++;
      history.advance(view.pageCount());
      if (timers.length < view.pageCount()) {
        timers = Arrays.copyOf(timers, Math.max(view.pageCount(), 2 * timers.length));
        frozenAt = Arrays.copyOf(frozenAt, timers.length);
      }
      // relevance < tau, solved for the mass, once for all pages: they are full
      double detectedBelow = options.threshold() * view.pageTokens() / view.activeTokens();
      for (int page = range.first(); page < range.end(); page++) {
        if (!view.active(page)) {
          wait(page, mover);
        } else if (view.mass(page) < detectedBelow) {
          freeze(page, schedule.duration(history.detect(page)), view, mover);
        }
      }
    }

    private void wait(int page, PageMover mover) {
      if (timers[page] > 0) {
        timers[page]--;
      }
      if (timers[page] == 0) {
        // Without a free slot the page stays frozen and asks again in the next step.
        mover.thaw(page);
      }
    }

    private void freeze(int page, int steps, HeadView view, PageMover mover) {
      if (steps == 0) {
        return;
      }
      mover.freeze(page);
      if (!view.active(page)) {
        timers[page] = (short) Math.min(steps, Short.MAX_VALUE);
        frozenAt[page] = step;
      }
    }

    @Override
    public void recover(RecoveryLevel level, HeadView view, PageMover mover) {
      for (int page = 0; page < Math.min(view.pageCount(), timers.length); page++) {
        boolean back =
            switch (level) {
              case NONE -> false;
              case SOFT_RESET -> timers[page] > 1;
              case WINDOW_RESET -> frozenAt[page] > step - options.guard().windowSteps();
              case FULL_RESET, REWALK -> true;
            };
        if (back && !view.active(page)) {
          mover.thaw(page);
          timers[page] = view.active(page) ? 0 : timers[page];
        }
      }
      if (level.compareTo(RecoveryLevel.FULL_RESET) >= 0) {
        history.forgetFrom(0);
      }
    }

    @Override
    public void truncate(int pageCount) {
      history.forgetFrom(pageCount);
      if (pageCount < timers.length) {
        Arrays.fill(timers, pageCount, timers.length, (short) 0);
      }
    }
  }
}
