package dev.kvfreeze.spark.conf;

import java.util.Collection;
import java.util.Locale;

/** The known name that is closest to a mistyped one. */
public final class NearestName {
  private NearestName() {}

  /**
   * The candidate at the smallest edit distance (Levenshtein), ignoring case; of a dotted candidate
   * the last part alone counts too.
   */
  public static String of(String name, Collection<String> candidates) {
    String typed = name.toLowerCase(Locale.ROOT);
    String nearest = "";
    int least = Integer.MAX_VALUE;
    for (String candidate : candidates) {
      String known = candidate.toLowerCase(Locale.ROOT);
      String last = known.substring(known.lastIndexOf('.') + 1);
      int distance = Math.min(distance(typed, known), distance(typed, last));
      if (distance < least) {
        least = distance;
        nearest = candidate;
      }
    }
    return nearest;
  }

  private static int distance(String a, String b) {
    int[] previous = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      previous[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int[] row = new int[b.length() + 1];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int change = previous[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        row[j] = Math.min(change, Math.min(previous[j], row[j - 1]) + 1);
      }
      previous = row;
    }
    return previous[b.length()];
  }
}
