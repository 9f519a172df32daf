package dev.kvfreeze.freeze;

import java.util.Arrays;

/**
 * The published method (ASR-KF, arXiv 2512.11221), without its recovery: after each decode step a page
 * outside the newest K tokens whose relevance is below tau is detected; after c detections within the
 * history window W it is frozen for {@code floor(sqrt(c) / k)} steps, then thawed and scored again.
 * Prompts are read with everything active, as in the paper.
 *
 * <p>Two departures. Relevance is the attention probability, averaged over the query heads that share
 * the KV head, as a multiple of the uniform share, so that tau means the same at every context length
 * (the paper compares a magnitude with a fixed threshold). The history window is two half windows
 * that roll over, which counts between W / 2 and W steps with one counter pair a page instead of W
 * bits.
 */
final class PaperPolicy implements FreezePolicy {
  private final PolicyOptions options;
  private final FreezeSchedule schedule;

  PaperPolicy(PolicyOptions options) {
    this.options = options;
    this.schedule = new FreezeSchedule(options.softness());
  }

  @Override
  public String name() {
    return "paper";
  }

  @Override
  public boolean wantsMass(StepKind kind) {
    return kind == StepKind.DECODE;
  }

  @Override
  public HeadPolicy head() {
    return new Head();
  }

  @Override
  public int peakActiveTokens(int promptTokens, int outputTokens, int chunkTokens) {
    return promptTokens + outputTokens;
  }

  private final class Head implements HeadPolicy {
    private int[] timers = new int[64];
    private short[] detectionsNow = new short[64];
    private short[] detectionsBefore = new short[64];
    private int stepsInHalfWindow;

    @Override
    public void step(StepKind kind, HeadView view, PageMover mover) {
      if (kind == StepKind.PREFILL) {
        return;
      }
      ensure(view.pageCount());
      rollHistory();
      int pageTokens = view.pageTokens();
      int decidable = Math.max(0, view.length() - options.recentTokens()) / pageTokens;
      float share = (float) (options.threshold() * pageTokens / attended(view));
      for (int page = 0; page < decidable; page++) {
        if (view.active(page)) {
          if (view.mass(page) < share && page * pageTokens >= options.sinkTokens()) {
            detect(page, mover);
          }
        } else if (--timers[page] <= 0) {
          mover.thaw(page);
        }
      }
    }

    private void detect(int page, PageMover mover) {
      if (detectionsNow[page] < Short.MAX_VALUE) {
        detectionsNow[page]++;
      }
      int duration = schedule.duration(detectionsNow[page] + detectionsBefore[page]);
      if (duration > 0) {
        timers[page] = duration;
        mover.freeze(page);
      }
    }

    private int attended(HeadView view) {
      int active = 0;
      for (int page = 0; page < view.pageCount(); page++) {
        active += view.active(page) ? 1 : 0;
      }
      int tailMissing = view.pageCount() * view.pageTokens() - view.length();
      return Math.max(1, active * view.pageTokens() - tailMissing);
    }

    private void rollHistory() {
      if (++stepsInHalfWindow * 2 > options.historySteps()) {
        short[] oldest = detectionsBefore;
        detectionsBefore = detectionsNow;
        detectionsNow = oldest;
        Arrays.fill(detectionsNow, (short) 0);
        stepsInHalfWindow = 0;
      }
    }

    private void ensure(int pages) {
      if (timers.length < pages) {
        int size = Math.max(pages, 2 * timers.length);
        timers = Arrays.copyOf(timers, size);
        detectionsNow = Arrays.copyOf(detectionsNow, size);
        detectionsBefore = Arrays.copyOf(detectionsBefore, size);
      }
    }
  }
}
