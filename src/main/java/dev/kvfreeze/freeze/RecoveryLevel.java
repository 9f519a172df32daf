package dev.kvfreeze.freeze;

/** The recovery ladder of arXiv 2512.11221, from the mildest to the strongest. */
public enum RecoveryLevel {
  NONE("none"),
  /** Thaw what would stay frozen for more than a step. */
  SOFT_RESET("SR"),
  /** Thaw what was frozen in the last steps. */
  WINDOW_RESET("WR"),
  /** Thaw everything and forget all detections. */
  FULL_RESET("FR"),
  /** The full reset, after going some tokens back, which are generated again. */
  REWALK("RR");

  private final String label;

  RecoveryLevel(String label) {
    this.label = label;
  }

  /** As in result tables. */
  public String label() {
    return label;
  }
}
