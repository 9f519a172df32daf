package dev.kvfreeze.freeze;

/**
 * The pages {@code [first, end)} that may be frozen: none with a sink token and none with one of
 * the newest tokens; they are all full.
 */
record FreezablePages(int first, int end) {
  static FreezablePages of(HeadView view, PolicyOptions options) {
    int pageTokens = view.pageTokens();
    int first = (int) (((long) options.sinkTokens() + pageTokens - 1) / pageTokens);
    int end = Math.max(0, view.length() - options.recentTokens()) / pageTokens;
    return new FreezablePages(first, Math.max(first, end));
  }
}
