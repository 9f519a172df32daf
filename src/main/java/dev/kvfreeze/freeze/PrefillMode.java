package dev.kvfreeze.freeze;

/** How {@code adaptive} reads a prompt that exceeds its cap. */
public enum PrefillMode {
  /**
   * All pages have part in the attention of every chunk; cold ones pass through, layer by layer.
   */
  EXACT,
  /**
   * A chunk sees itself and the pages active; those that its queries miss are recalled, and pages
   * are frozen after every chunk. What a long prompt costs then grows with its length, not with its
   * square, at a price in quality.
   */
  FROZEN
}
