package dev.kvfreeze.engine;

import java.util.List;

/**
 * Finds the first stop string in a text that arrives in pieces, and holds back what may yet become
 * one: never more than the longest stop string less one character.
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
    int first = -1;
    for (String stop : stops) {
      int at = held.indexOf(stop);
      if (at >= 0 && (first < 0 || at < first)) {
        first = at;
      }
    }
    if (first >= 0) {
      found = true;
      String before = held.substring(0, first);
      held.setLength(0);
      return before;
    }
    int safe = Math.max(0, held.length() - longest + 1);
    String certain = held.substring(0, safe);
    held.delete(0, safe);
    return certain;
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
