package dev.kvfreeze.engine;

/**
 * What the entropy guard did for a document.
 *
 * @param regeneratedTokens thrown away by rewalks and generated again
 */
public record RecoveryCounts(
    int softResets, int windowResets, int fullResets, int rewalks, int regeneratedTokens) {
  /** Recoveries of all levels. */
  public int total() {
    return softResets + windowResets + fullResets + rewalks;
  }
}
