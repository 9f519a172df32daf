package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.spark.conf.ConfigurationException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A policy as written on the command line: {@code adaptive} or {@code
 * adaptive:policy.cap=25%:policy.sketchBits=2}.
 *
 * @param label the text as written
 * @param settings by knob name
 */
record PolicySpec(String label, String policy, Map<String, String> settings)
    implements Serializable {

  /** Reads a list separated by semicolons; the first is the control. */
  static List<PolicySpec> parseAll(String text) {
    List<PolicySpec> specs = new ArrayList<>();
    for (String one : text.split(";")) {
      if (!one.isBlank()) {
        specs.add(parse(one.strip()));
      }
    }
    if (specs.isEmpty()) {
      throw new ConfigurationException("--policies names none; try 'full;adaptive'");
    }
    return List.copyOf(specs);
  }

  private static PolicySpec parse(String text) {
    String[] parts = text.split(":");
    Map<String, String> settings = new LinkedHashMap<>();
    for (int i = 1; i < parts.length; i++) {
      int equals = parts[i].indexOf('=');
      if (equals < 1) {
        throw new ConfigurationException(
            "policy %s: '%s' is not KEY=VALUE; write NAME:KEY=VALUE:KEY=VALUE"
                .formatted(text, parts[i]));
      }
      settings.put(parts[i].substring(0, equals), parts[i].substring(equals + 1));
    }
    return new PolicySpec(text, parts[0], settings);
  }
}
