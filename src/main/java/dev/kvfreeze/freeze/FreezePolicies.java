package dev.kvfreeze.freeze;

import java.util.Collections;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;

/** The policies by name. A name maps to a factory, never to a shared instance. */
public final class FreezePolicies {
  private static final TreeMap<String, Function<PolicyOptions, FreezePolicy>> FACTORIES =
      new TreeMap<>();

  static {
    FACTORIES.put(AdaptivePolicy.NAME, AdaptivePolicy::new);
    FACTORIES.put(ArkValePolicy.NAME, ArkValePolicy::new);
    FACTORIES.put(FullPolicy.NAME, options -> new FullPolicy());
    FACTORIES.put(HeavyHitterPolicy.NAME, HeavyHitterPolicy::new);
    FACTORIES.put(OraclePolicy.NAME, OraclePolicy::new);
    FACTORIES.put(QuestPolicy.NAME, QuestPolicy::new);
    FACTORIES.put(RandomPolicy.NAME, RandomPolicy::new);
    FACTORIES.put(SnapKvPolicy.NAME, SnapKvPolicy::new);
    FACTORIES.put(PaperPolicy.NAME, PaperPolicy::new);
    FACTORIES.put(WindowPolicy.NAME, WindowPolicy::new);
  }

  private FreezePolicies() {}

  /** All names, sorted. */
  public static Set<String> names() {
    return Collections.unmodifiableSet(FACTORIES.keySet());
  }

  /**
   * Makes a policy.
   *
   * @throws IllegalArgumentException when there is none of this name, with the nearest
   */
  public static FreezePolicy create(String name, PolicyOptions options) {
    Function<PolicyOptions, FreezePolicy> factory = FACTORIES.get(name);
    if (factory == null) {
      throw new IllegalArgumentException(
          "unknown policy '"
              + name
              + "', did you mean '"
              + nearest(name)
              + "'? There are "
              + String.join(", ", names()));
    }
    return factory.apply(options);
  }

  private static String nearest(String name) {
    String best = FullPolicy.NAME;
    int bestDistance = Integer.MAX_VALUE;
    for (String candidate : FACTORIES.keySet()) {
      int distance = editDistance(name, candidate);
      if (distance < bestDistance) {
        best = candidate;
        bestDistance = distance;
      }
    }
    return best;
  }

  /** Levenshtein's: insertions, deletions and replacements that turn one into the other. */
  private static int editDistance(String from, String to) {
    int[] row = new int[to.length() + 1];
    for (int j = 0; j <= to.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= from.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= to.length(); j++) {
        int replaced = diagonal + (from.charAt(i - 1) == to.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(replaced, Math.min(row[j], row[j - 1]) + 1);
      }
    }
    return row[to.length()];
  }
}
