package dev.kvfreeze.freeze;

/**
 * What a policy sees of one KV head of one layer of one sequence after a forward step: logical
 * pages 0 to {@code pageCount - 1} in order of position, {@code pageTokens} tokens each, the last
 * perhaps not full.
 */
public interface HeadView {
  int layer();

  int pageCount();

  int pageTokens();

  /** Pages of all heads of the sequence that are on the device now. */
  long activePages();

  /** Tokens in the sequence. */
  int length();

  /** Tokens the head attended to in this step: those of the pages active when it began. */
  int activeTokens();

  /** Pages that took part in this step's attention, in order. */
  int listedCount();

  /** The page at a place of that list; it may have been frozen since. */
  int listedPage(int index);

  /** Whether the page is on the device. */
  boolean active(int page);

  /**
   * Attention mass of an active page in this step: probability summed over its tokens, averaged
   * over the step's queries and the query heads of the group. 0 for a frozen page.
   */
  float mass(int page);

  /**
   * Share of the attention that the {@link FreezePolicy#estimates} promise for a page, active or
   * frozen, in the present decode step: with sketches a softmax over the sketched pages' tokens,
   * with boxes over the pages' bounds, mean over the query heads of the group. 0 for a page that
   * has neither.
   */
  float estimate(int page);
}
