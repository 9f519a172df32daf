package dev.kvfreeze.freeze;

import java.util.Arrays;

/** The scores of a head's pages, for baselines that keep the best ones and never thaw. */
final class CappedHead {
  private final PolicyOptions options;
  private float[] scores = new float[16];
  private float[] sorted = {};

  CappedHead(PolicyOptions options) {
    this.options = options;
  }

  /** Makes room for the scores of a head's pages. */
  float[] scores(int pages) {
    if (scores.length < pages) {
      scores = Arrays.copyOf(scores, Math.max(pages, 2 * scores.length));
    }
    return scores;
  }

  /** Freezes the worst pages beyond {@code budgetTokens}, sinks and recent tokens apart. */
  void keepBest(double budgetTokens, int recentTokens, HeadView view, PageMover mover) {
    int end = Math.max(0, view.length() - recentTokens) / view.pageTokens();
    int first = (options.sinkTokens() + view.pageTokens() - 1) / view.pageTokens();
    int active = 0;
    int candidates = 0;
    if (sorted.length < view.pageCount()) {
      sorted = new float[2 * view.pageCount()];
    }
    scores(view.pageCount());
    for (int page = 0; page < view.pageCount(); page++) {
      if (view.active(page)) {
        active++;
        if (page >= first && page < end) {
          sorted[candidates++] = scores[page];
        }
      }
    }
    int surplus = active - Math.max(1, (int) (budgetTokens / view.pageTokens()));
    if (surplus <= 0 || candidates == 0) {
      return;
    }
    Arrays.sort(sorted, 0, candidates);
    float bar = sorted[Math.min(surplus, candidates) - 1];
    for (int page = first; page < end && surplus > 0; page++) {
      if (view.active(page) && scores[page] <= bar) {
        mover.freeze(page);
        surplus--;
      }
    }
  }

  /** Forgets pages from {@code page} on. */
  void truncate(int page) {
    if (page < scores.length) {
      Arrays.fill(scores, page, scores.length, 0);
    }
  }
}
