package dev.kvfreeze.freeze;

import java.util.Arrays;

/** The pages of a head that a decode step shall attend to: the best estimates within a budget. */
final class TopPages {
  private final PolicyOptions options;
  private boolean[] chosen = {};
  private float[] sorted = {};

  TopPages(PolicyOptions options) {
    this.options = options;
  }

  /**
   * Chooses sinks, recent tokens, and of the others the pages of the highest {@link
   * HeadView#estimate} until there are {@code budgetTokens} in all.
   *
   * @return by page; valid until the next call
   */
  boolean[] choose(HeadView view, double budgetTokens) {
    int pages = view.pageCount();
    FreezablePages range = FreezablePages.of(view, options);
    int candidates = Math.max(0, range.end() - range.first());
    if (chosen.length < pages) {
      chosen = new boolean[2 * pages];
      sorted = new float[2 * pages];
    }
    Arrays.fill(chosen, 0, pages, true);
    int room = (int) (budgetTokens / view.pageTokens()) - (pages - candidates);
    if (candidates <= Math.max(0, room) || budgetTokens >= view.length()) {
      return chosen;
    }
    for (int i = 0; i < candidates; i++) {
      sorted[i] = view.estimate(range.first() + i);
    }
    Arrays.sort(sorted, 0, candidates);
    float bar = room <= 0 ? Float.POSITIVE_INFINITY : sorted[candidates - room];
    int taken = 0;
    for (int page = range.end() - 1; page >= range.first(); page--) {
      chosen[page] = taken < room && view.estimate(page) >= bar;
      taken += chosen[page] ? 1 : 0;
    }
    return chosen;
  }
}
