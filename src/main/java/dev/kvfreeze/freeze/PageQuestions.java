package dev.kvfreeze.freeze;

/** Where a policy names the pages of a head whose sketches shall be scored in a decode step. */
public interface PageQuestions {
  /** All pages. */
  void askAll();

  /**
   * Only some pages.
   *
   * @param pages in ascending order, in the first {@code count} places; those without a sketch are
   *     left out
   * @param unasked share of the attention that the other pages are taken to get together, 0 to
   *     below 1
   */
  void ask(int[] pages, int count, float unasked);
}
