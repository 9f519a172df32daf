package dev.kvfreeze.spark.conf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class SettingsTest {
  @TempDir Path folder;
  private final SettingsResolver resolver =
      new SettingsResolver(new ConfFiles(new Configuration(false)));

  private Settings resolve(Map<String, String> commandLine, Map<String, String> spark) {
    return resolver.resolve(commandLine, spark, Map.of());
  }

  @Test
  void theCommandLineWinsOverSparkOverThePolicyFileOverTheDefault() throws IOException {
    Path policy = folder.resolve("mine.conf");
    Files.writeString(
        policy,
        """
        spark.kvfreeze.policy paper
        spark.kvfreeze.policy.tau 0.1
        spark.kvfreeze.policy.history 11
        spark.kvfreeze.policy.softness 3
        """);
    Settings settings =
        resolve(
            Map.of("policy", policy.toString(), "policy.tau", "0.3"),
            Map.of(
                "spark.kvfreeze.policy.tau",
                "0.2",
                "spark.kvfreeze.policy.history",
                "22",
                "spark.app.name",
                "x"));
    assertThat(settings.value(Knobs.POLICY)).isEqualTo("paper");
    assertThat(settings.value(PolicyKnobs.TAU)).isEqualTo(0.3);
    assertThat(settings.value(PolicyKnobs.HISTORY)).isEqualTo(22);
    assertThat(settings.value(PolicyKnobs.SOFTNESS)).isEqualTo(3.0);
    assertThat(settings.value(Knobs.MAX_BATCH)).isEqualTo(8);
  }

  @Test
  void namesOfPoliciesFindTheirFiles() {
    Settings paper = resolve(Map.of("policy", "paper"), Map.of());
    assertThat(paper.value(Knobs.PAGE_TOKENS)).as("of the jar's paper.conf").isEqualTo(1);
  }

  @ParameterizedTest
  @CsvSource({
    "cache.pageTokes, cache.pageTokens",
    "CACHE.POOLBYTE, cache.poolBytes",
    "temperature, sampling.temperature"
  })
  void unknownNamesAreRefusedWithTheNearest(String name, String nearest) {
    assertThatThrownBy(() -> resolve(Map.of(), Map.of("spark.kvfreeze." + name, "1")))
        .isInstanceOf(ConfigurationException.class)
        .hasMessageContaining(name)
        .hasMessageContaining("did you mean spark.kvfreeze." + nearest + "?");
  }

  @ParameterizedTest
  @CsvSource({
    "cache.pageTokens, 0",
    "cache.pageTokens, 1.5",
    "cache.poolBytes, 2x",
    "cache.poolBytes, -1",
    "cache.poolBytes, 99999999999t",
    "sampling.topP, 1.5",
    "sampling.topP, NaN",
    "cache.format, fp8",
    "job.progressInterval, 5 weeks",
    "job.errorBudget, 120%",
    "sampling.seed, 1e3"
  })
  void valuesOutOfRangeAreRefusedWithWhatIsAllowed(String name, String value) {
    assertThatThrownBy(() -> resolve(Map.of(name, value), Map.of()))
        .isInstanceOf(ConfigurationException.class)
        .hasMessageContaining("spark.kvfreeze." + name)
        .hasMessageContaining(value)
        .hasMessageContaining("must be");
  }

  @Test
  void theFingerprintIsOfWhatChangesResults() {
    String plain = resolve(Map.of(), Map.of()).fingerprint(List.of("prompt"));
    assertThat(
            List.of(
                "engine.threads=3",
                "cache.poolBytes=2g",
                "policy.tau=0.7",
                "sampling.temperature=0.0",
                "model=other"))
        .allSatisfy(setting -> assertThat(fingerprint(setting)).as(setting).isEqualTo(plain));
    assertThat(
            List.of(
                "sampling.seed=3",
                "cache.format=f32",
                "policy=window",
                "generation.stopStrings=a|b",
                "template=none"))
        .allSatisfy(setting -> assertThat(fingerprint(setting)).as(setting).isNotEqualTo(plain));
    assertThat(resolve(Map.of(), Map.of()).fingerprint(List.of("other prompt")))
        .isNotEqualTo(plain);
  }

  private String fingerprint(String setting) {
    String[] parts = setting.split("=");
    return resolve(Map.of(parts[0], parts[1]), Map.of()).fingerprint(List.of("prompt"));
  }

  @Test
  void stopStringsHaveEscapes() {
    Settings settings = resolve(Map.of("generation.stopStrings", "\\n\\n|a\\|b|c\\\\"), Map.of());
    assertThat(settings.value(Knobs.STOP_STRINGS)).containsExactly("\n\n", "a|b", "c\\");
  }

  @ParameterizedTest
  @MethodSource("shippedFiles")
  void shippedFilesHaveKnownSettingsOnly(Path file) throws IOException {
    Properties properties = new Properties();
    try (InputStream in = Files.newInputStream(file)) {
      properties.load(in);
    }
    Map<String, String> entries =
        properties.stringPropertyNames().stream()
            .collect(Collectors.toMap(key -> key, properties::getProperty));
    assertThat(entries).isNotEmpty();
    assertThat(resolve(Map.of(), entries)).isNotNull();
  }

  static Stream<Path> shippedFiles() throws IOException {
    try (Stream<Path> files = Files.walk(Path.of("conf"))) {
      return files.filter(file -> file.toString().endsWith(".conf")).sorted().toList().stream();
    }
  }
}
