package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.HeadPages;

/** Which of a head's pages a run of positions can see at all. */
final class VisiblePages {
  private VisiblePages() {}

  /** First position that {@code position} sees through a sliding window, 0 meaning no window. */
  static int windowStart(int position, int window) {
    return window <= 0 ? 0 : Math.max(0, position - window + 1);
  }

  /** First page with a token at or after {@code start}. */
  static int firstPage(HeadPages pages, int start) {
    int page = 0;
    while (page < pages.count && pages.firstPositions[page] + pages.tokenCounts[page] <= start) {
      page++;
    }
    return page;
  }

  /** One more than the last page with a token at or before {@code position}. */
  static int pageLimit(HeadPages pages, int position) {
    int limit = pages.count;
    while (limit > 0
        && (pages.firstPositions[limit - 1] > position || pages.tokenCounts[limit - 1] == 0)) {
      limit--;
    }
    return limit;
  }
}
