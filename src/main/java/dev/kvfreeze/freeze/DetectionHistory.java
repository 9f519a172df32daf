package dev.kvfreeze.freeze;

import java.util.Arrays;

/**
 * How often each page was detected in about the last W steps: the {@code c} of the freeze schedule.
 *
 * <p>A departure from the paper, for O(1) state a page: detections are counted in buckets of W
 * steps, and the previous bucket counts by the part of it still inside the window, {@code c =
 * current + floor(previous * (W - elapsed) / W)}, where {@code elapsed} steps of the current bucket
 * have passed. In the first W steps this is exact; after that it is exact for detections evenly
 * spread over the previous bucket.
 */
final class DetectionHistory {
  private final int historySteps;
  private short[] current = new short[16];
  private short[] previous = new short[16];
  private int elapsed;

  /**
   * @param historySteps W, at most {@link PolicyOptions#MAX_HISTORY_STEPS}
   */
  DetectionHistory(int historySteps) {
    this.historySteps = historySteps;
    this.elapsed = -1;
  }

  /** Begins a step in which pages below {@code pageCount} may be detected. */
  void advance(int pageCount) {
    if (current.length < pageCount) {
      int size = Math.max(pageCount, 2 * current.length);
      current = Arrays.copyOf(current, size);
      previous = Arrays.copyOf(previous, size);
    }
    elapsed++;
    if (elapsed == historySteps) {
      short[] oldest = previous;
      previous = current;
      current = oldest;
      Arrays.fill(current, (short) 0);
      elapsed = 0;
    }
  }

  /** Counts a detection in this step and returns c, this one included. */
  int detect(int page) {
    current[page]++;
    return Short.toUnsignedInt(current[page])
        + Short.toUnsignedInt(previous[page]) * (historySteps - elapsed) / historySteps;
  }

  /** Forgets pages from {@code page} on. */
  void forgetFrom(int page) {
    if (page < current.length) {
      Arrays.fill(current, page, current.length, (short) 0);
      Arrays.fill(previous, page, previous.length, (short) 0);
    }
  }
}
