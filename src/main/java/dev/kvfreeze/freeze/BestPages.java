package dev.kvfreeze.freeze;

/** The few most important pages of those offered, best first. */
final class BestPages {
  private final int[] pages;
  private final float[] importances;
  private int count;

  BestPages(int most) {
    this.pages = new int[most];
    this.importances = new float[most];
  }

  void clear() {
    count = 0;
  }

  void offer(int page, float importance) {
    if (count == pages.length && importance <= importances[count - 1]) {
      return;
    }
    int at = count < pages.length ? count++ : count - 1;
    while (at > 0 && importances[at - 1] < importance) {
      pages[at] = pages[at - 1];
      importances[at] = importances[at - 1];
      at--;
    }
    pages[at] = page;
    importances[at] = importance;
  }

  int count() {
    return count;
  }

  int page(int index) {
    return pages[index];
  }
}
