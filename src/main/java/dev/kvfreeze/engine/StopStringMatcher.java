package dev.kvfreeze.engine;

import java.util.List;

/**
 * Finds the first stop string in a text that arrives in pieces, and holds back only what may yet
 * become one: the longest end of the text that begins a stop string, so always fewer characters
 * than the longest has.
 *
 * <p>The first stop string is the one that is complete first, of several complete at once the
 * longest; so the outcome does not depend on how the text is cut into pieces.
 */
final class StopStringMatcher {
  private final List<String> stops;
  private final int longest;
  private final StringBuilder held = new StringBuilder();
  private boolean found;

  StopStringMatcher(List<String> stops) {
    this.stops = stops.stream().filter(stop -> !stop.isEmpty()).toList();
    this.longest = this.stops.stream().mapToInt(String::length).max().orElse(0);
  }

  /** Takes the next piece and returns the text that is now certain to come before any stop. */
  String append(String piece) {
    if (found) {
      return "";
    }
    if (stops.isEmpty()) {
      return piece;
    }
    held.append(piece);
    int start = firstStop();
    if (start >= 0) {
      found = true;
      String before = held.substring(0, start);
      held.setLength(0);
      return before;
    }
    int safe = held.length() - possibleStop();
    String certain = held.substring(0, safe);
    held.delete(0, safe);
    return certain;
  }

  /** Where the first stop string begins, or -1. */
  private int firstStop() {
    int firstEnd = Integer.MAX_VALUE;
    int start = -1;
    for (String stop : stops) {
      int at = held.indexOf(stop);
      int end = at + stop.length();
      if (at >= 0 && (end < firstEnd || (end == firstEnd && at < start))) {
        firstEnd = end;
        start = at;
      }
    }
    return start;
  }

  /** Characters at the end that begin a stop string. */
  private int possibleStop() {
    for (int size = Math.min(longest - 1, held.length()); size > 0; size--) {
      String end = held.substring(held.length() - size);
      for (String stop : stops) {
        if (stop.length() > size && stop.startsWith(end)) {
          return size;
        }
      }
    }
    return 0;
  }

  /** Whether a stop string has been found. */
  boolean found() {
    return found;
  }

  /** What was held back, when the text has ended without a stop string. */
  String rest() {
    String rest = held.toString();
    held.setLength(0);
    return rest;
  }
}
