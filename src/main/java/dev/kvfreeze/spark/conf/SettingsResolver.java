package dev.kvfreeze.spark.conf;

import dev.kvfreeze.freeze.FreezePolicies;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The one precedence of settings, first found wins:
 *
 * <ol>
 *   <li>the command line of the job (its options and {@code --set});
 *   <li>Spark's configuration: {@code --conf}, then the profile ({@code --properties-file});
 *   <li>the file of the policy;
 *   <li>the job's own default, then the knob's.
 * </ol>
 *
 * An unknown name or a value out of range is refused in any of them.
 */
public final class SettingsResolver {
  private final ConfFiles files;

  public SettingsResolver(ConfFiles files) {
    this.files = files;
  }

  /**
   * @param commandLine by knob name
   * @param sparkConfiguration Spark's whole configuration; keys without our prefix are ignored
   * @param jobDefaults what this kind of job sets unless told otherwise, by knob name
   */
  public Settings resolve(
      Map<String, String> commandLine,
      Map<String, String> sparkConfiguration,
      Map<String, String> jobDefaults) {
    Map<String, String> options = checked(commandLine, "on the command line");
    Map<String, String> spark =
        checked(ours(sparkConfiguration), "in Spark's configuration or the profile");
    Map<String, String> defaults = new LinkedHashMap<>();
    Knobs.all().forEach(knob -> defaults.put(knob.name(), knob.defaultText()));
    defaults.putAll(checked(jobDefaults, "the job's default"));

    Map<String, String> merged = new HashMap<>(defaults);
    merged.putAll(spark);
    merged.putAll(options);
    String policy = merged.get(Knobs.POLICY.name()).strip();
    PolicyFile file = PolicyFile.find(policy, files.in(merged.get(Knobs.CONF_DIR.name())));

    Map<String, String> values = new HashMap<>(defaults);
    values.putAll(checked(ours(file.entries()), "in " + file.source()));
    values.putAll(spark);
    values.putAll(options);
    values.put(Knobs.POLICY.name(), knownPolicy(file));
    return new Settings(values);
  }

  private static String knownPolicy(PolicyFile file) {
    if (!FreezePolicies.names().contains(file.policy())) {
      throw new ConfigurationException(
          "unknown policy %s (%s); did you mean %s? Known are %s"
              .formatted(
                  file.policy(),
                  file.source(),
                  NearestName.of(file.policy(), FreezePolicies.names()),
                  String.join(", ", FreezePolicies.names())));
    }
    return file.policy();
  }

  /** The settings that a driver resolved and put into Spark's configuration. */
  public static Settings resolved(Map<String, String> sparkConfiguration) {
    Map<String, String> values = new HashMap<>();
    Knobs.all().forEach(knob -> values.put(knob.name(), knob.defaultText()));
    values.putAll(checked(ours(sparkConfiguration), "in Spark's configuration"));
    return new Settings(values);
  }

  private static Map<String, String> ours(Map<String, String> sparkConfiguration) {
    Map<String, String> ours = new LinkedHashMap<>();
    sparkConfiguration.forEach(
        (key, value) -> {
          if (key.startsWith(Knob.PREFIX)) {
            ours.put(key.substring(Knob.PREFIX.length()), value);
          }
        });
    return ours;
  }

  private static Map<String, String> checked(Map<String, String> entries, String source) {
    Map<String, String> checked = new LinkedHashMap<>();
    entries.forEach(
        (name, text) -> {
          // The full key is accepted on the command line too.
          String bare = name.startsWith(Knob.PREFIX) ? name.substring(Knob.PREFIX.length()) : name;
          Knobs.named(bare, source).parse(text, source);
          checked.put(bare, text);
        });
    return checked;
  }
}
