package dev.kvfreeze.freeze;

/** Where a policy names the pages of a head whose sketches shall be scored in a decode step. */
public interface PageQuestions {
  /** All pages. */
  void askAll();

  /**
   * Only the pages that {@link #ask} names after this.
   *
   * @param unasked share of the attention that the other pages are taken to get together, 0 to
   *     below 1
   */
  void askNone(float unasked);

  /** One page more, in ascending order; a page without a sketch is left out. */
  void ask(int page);
}
