package dev.kvfreeze.spark.conf;

import java.util.List;

/**
 * One setting.
 *
 * @param name without the prefix {@link #PREFIX}
 * @param unit of the value, or empty
 * @param defaultText as it would be written in a configuration file
 * @param effect whether a change makes existing rows of an output folder out of date
 * @param policies the cache policies that read it; empty when it does not depend on the policy
 */
public record Knob<T>(
    String name,
    KnobType<T> type,
    String unit,
    String defaultText,
    Effect effect,
    List<String> policies,
    String description) {
  public static final String PREFIX = "spark.kvfreeze.";

  /** What a knob changes. */
  public enum Effect {
    /** The text or the statistics of a document: part of the configuration fingerprint. */
    RESULT,
    /** Speed, memory, reporting: rows made with another value are still good. */
    RUNNING
  }

  static <T> Knob<T> of(
      String name, KnobType<T> type, String unit, String defaultText, Effect effect, String text) {
    return new Knob<>(name, type, unit, defaultText, effect, List.of(), text);
  }

  Knob<T> readBy(String... policyNames) {
    return new Knob<>(name, type, unit, defaultText, effect, List.of(policyNames), description);
  }

  /** The key in Spark's configuration. */
  public String key() {
    return PREFIX + name;
  }

  /**
   * @param source where the text comes from, for the message
   * @throws ConfigurationException saying what is allowed
   */
  T parse(String text, String source) {
    try {
      return type.parser().apply(text.strip());
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw new ConfigurationException(
          "%s is \"%s\" (%s), but must be %s%s; the default is %s"
              .formatted(
                  key(),
                  text,
                  source,
                  type.allowed(),
                  unit.isEmpty() ? "" : " (" + unit + ")",
                  defaultText.isEmpty() ? "empty" : defaultText),
          e);
    }
  }
}
