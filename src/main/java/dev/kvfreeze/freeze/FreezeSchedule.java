package dev.kvfreeze.freeze;

/** The paper's sublinear schedule: {@code d = floor(sqrt(c) / k)} (arXiv 2512.11221). */
final class FreezeSchedule {
  private final double softness;

  /**
   * @param softness k; larger freezes later and for shorter
   */
  FreezeSchedule(double softness) {
    this.softness = softness;
  }

  /** Steps to stay frozen after {@code detections} detections of low relevance. */
  int duration(int detections) {
    return (int) (Math.sqrt(detections) / softness);
  }
}
