package dev.kvfreeze.freeze;

import java.util.Arrays;

/** What {@link AdaptiveSequence} knows of the pages of one head. */
final class AdaptiveHead {
  /** Instead of a number of pages. */
  static final int ALL = -1;

  float[] importance = new float[16];
  int[] detections = new int[16];
  int[] heldUntil = new int[16];
  int[] frozenAt = new int[16];

  /** Step from which on a page is to be scored again; past for active pages. */
  int[] nextLook = new int[16];

  /** Pages scored in this step, in order. */
  int[] due = new int[16];

  /** Number of them, or {@link #ALL}. */
  int dueCount = ALL;

  /** Importance of the pages that are not. */
  float unasked;

  /** Step that the due pages are listed for, and the pages that were looked through. */
  private int dueStep = -1;

  private int dueEnd;

  /** Pages that were observed at least once. */
  int known;

  /** Importance below which pages are not needed to keep the wanted mass. */
  float cover;

  /** Lists the pages that are due in a step; goes on where it was for the same step before. */
  void listDue(int step, int pages) {
    ensure(pages);
    if (dueStep != step) {
      dueStep = step;
      dueEnd = 0;
      dueCount = 0;
      unasked = 0;
    }
    for (int page = dueEnd; page < pages; page++) {
      if (nextLook[page] <= step) {
        due[dueCount++] = page;
      } else {
        unasked += importance[page];
      }
    }
    dueEnd = pages;
  }

  /** All pages are asked for. */
  void askAll() {
    dueCount = ALL;
    forgetDue();
  }

  /** When pages have become due by other means. */
  void forgetDue() {
    dueStep = -1;
  }

  /** Makes room for so many pages. */
  void ensure(int pages) {
    if (importance.length < pages) {
      int size = Math.max(pages, 2 * importance.length);
      importance = Arrays.copyOf(importance, size);
      detections = Arrays.copyOf(detections, size);
      heldUntil = Arrays.copyOf(heldUntil, size);
      frozenAt = Arrays.copyOf(frozenAt, size);
      nextLook = Arrays.copyOf(nextLook, size);
      due = Arrays.copyOf(due, size);
    }
  }
}
