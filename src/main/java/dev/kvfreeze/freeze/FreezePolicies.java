package dev.kvfreeze.freeze;

import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;

/** The registry of policies: name to factory. */
public final class FreezePolicies {
  private static final Map<String, Function<PolicyOptions, FreezePolicy>> FACTORIES =
      new TreeMap<>(
          Map.of(
              "full", options -> new FullPolicy(),
              "window", WindowPolicy::new,
              "paper", PaperPolicy::new));

  private FreezePolicies() {}

  public static Set<String> names() {
    return FACTORIES.keySet();
  }

  /**
   * A policy by name.
   *
   * @throws IllegalArgumentException naming the known ones when there is none of that name
   */
  public static FreezePolicy create(String name, PolicyOptions options) {
    Function<PolicyOptions, FreezePolicy> factory = FACTORIES.get(name);
    if (factory == null) {
      throw new IllegalArgumentException(
          "unknown policy " + name + "; known are " + String.join(", ", names()));
    }
    return factory.apply(options);
  }
}
