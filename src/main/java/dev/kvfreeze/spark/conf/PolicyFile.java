package dev.kvfreeze.spark.conf;

import java.io.IOException;
import java.io.StringReader;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;

/**
 * A file of {@code conf/policies}: the name of a policy and the settings it was tuned with, in the
 * syntax of Spark's properties files.
 *
 * @param policy the name of the policy
 * @param entries by full key
 * @param source the file, for messages
 */
record PolicyFile(String policy, Map<String, String> entries, String source) {

  /**
   * @param value of the knob {@code policy}: a path or a name; a policy without a file has no
   *     settings of its own
   */
  static PolicyFile find(String value, ConfFiles files) {
    Optional<ConfFiles.Found> found = files.find("policies", value, ".conf");
    if (found.isEmpty()) {
      return new PolicyFile(value, Map.of(), "no file");
    }
    Properties properties = new Properties();
    try {
      properties.load(new StringReader(found.get().text()));
    } catch (IOException | IllegalArgumentException e) {
      throw new ConfigurationException(
          found.get().source() + ": not a properties file: " + e.getMessage(), e);
    }
    Map<String, String> entries = new HashMap<>();
    for (String key : properties.stringPropertyNames()) {
      if (!key.startsWith(Knob.PREFIX)) {
        throw new ConfigurationException(
            "%s: the key %s does not begin with %s; only settings of kvfreeze may be here"
                .formatted(found.get().source(), key, Knob.PREFIX));
      }
      entries.put(key, properties.getProperty(key).strip());
    }
    String policy = entries.get(Knobs.POLICY.key());
    if (policy == null) {
      throw new ConfigurationException(
          "%s: it has no %s; name the policy that these settings are for"
              .formatted(found.get().source(), Knobs.POLICY.key()));
    }
    return new PolicyFile(policy, entries, found.get().source());
  }
}
