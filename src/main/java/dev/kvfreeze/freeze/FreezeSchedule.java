package dev.kvfreeze.freeze;

/**
 * The soft freeze schedule of arXiv 2512.11221: {@code d = floor(sqrt(c) / k)} steps for a page
 * detected {@code c} times. It grows slowly, so that one quiet step freezes nothing for long.
 *
 * @param softness k
 */
record FreezeSchedule(double softness) {
  /** Steps to stay frozen; 0 to stay active. */
  int duration(int detections) {
    return (int) Math.floor(Math.sqrt(detections) / softness);
  }
}
