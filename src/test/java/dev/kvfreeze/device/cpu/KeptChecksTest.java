package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeptChecksTest {
  private static final Instant NOW = Instant.parse("2026-11-24T12:00:00Z");
  private static final String CHECKED = "matrices [Q4_1]\npages 16";

  @TempDir Path cache;

  private KeptChecks at(Duration later) {
    return of("kvfreeze 1, Java 17, a processor", later);
  }

  private KeptChecks of(String circumstances, Duration later) {
    Clock clock = Clock.fixed(NOW.plus(later), ZoneOffset.UTC);
    return new KeptChecks(cache.resolve("kernel-checks"), circumstances, clock);
  }

  private Path onlyFile() throws IOException {
    try (var files = Files.list(cache.resolve("kernel-checks"))) {
      return files.reduce((a, b) -> null).orElseThrow();
    }
  }

  @Test
  void whatPassedHoldsForAWeekUnderTheSameCircumstances() {
    assertThat(at(Duration.ZERO).passed(CHECKED)).isEmpty();
    at(Duration.ZERO).keep(CHECKED);

    assertThat(at(Duration.ZERO).passed(CHECKED)).contains(LocalDate.of(2026, 11, 24));
    assertThat(at(Duration.ofDays(7)).passed(CHECKED)).isPresent();
    assertThat(at(Duration.ofDays(7).plusSeconds(1)).passed(CHECKED)).as("expired").isEmpty();
    assertThat(at(Duration.ofSeconds(-1)).passed(CHECKED)).as("from the future").isEmpty();
    assertThat(at(Duration.ZERO).passed(CHECKED + "\nsketches 2")).isEmpty();
    assertThat(of("kvfreeze 1, Java 25, a processor", Duration.ZERO).passed(CHECKED)).isEmpty();

    at(Duration.ofDays(9)).keep(CHECKED);
    assertThat(at(Duration.ofDays(10)).passed(CHECKED)).as("renewed").isPresent();
    at(Duration.ZERO).forget(CHECKED);
    assertThat(at(Duration.ofDays(10)).passed(CHECKED)).isEmpty();
  }

  @Test
  void aFileThatIsNotAsWrittenCountsForNothing() throws IOException {
    KeptChecks checks = at(Duration.ZERO);
    checks.keep(CHECKED);
    Path file = onlyFile();
    byte[] good = Files.readAllBytes(file);
    for (String other :
        List.of(
            "",
            "\n",
            "kernel check passed ",
            "kernel check passed 2026-11-24T12:00:00Z",
            "kernel check passed 2026-11-24T12:00:00Z\nkvfreeze 0\n" + CHECKED + "\n",
            new String(good).replace("2026-11-24T", "yesterday"),
            new String(good).replace("2026", "+999999999"),
            new String(good).replace("Q4_1", "Q8_0"),
            new String(good) + "x".repeat(100_000))) {
      Files.writeString(file, other);
      assertThat(checks.passed(CHECKED)).as(other).isEmpty();
    }
    Files.write(file, new byte[] {(byte) 0xff, (byte) 0xfe, 0});
    assertThat(checks.passed(CHECKED)).as("no text").isEmpty();
    Files.delete(file);
    Files.createDirectories(file.resolve("folder"));
    assertThat(checks.passed(CHECKED)).as("a folder").isEmpty();
    assertThatCode(() -> checks.keep(CHECKED)).doesNotThrowAnyException();
    assertThatCode(() -> checks.forget(CHECKED)).doesNotThrowAnyException();
    Files.delete(file.resolve("folder"));
    Files.delete(file);
    Files.write(file, good);
    assertThat(checks.passed(CHECKED)).isPresent();
  }

  @Test
  void aFolderThatCannotBeMadeCostsNothing() throws IOException {
    Files.writeString(cache.resolve("kernel-checks"), "a file where the folder should be");
    KeptChecks checks = at(Duration.ZERO);
    assertThatCode(() -> checks.keep(CHECKED)).doesNotThrowAnyException();
    assertThat(checks.passed(CHECKED)).isEmpty();
  }

  @Test
  void onlyFlagsOfTheCompilerCount() {
    assertThat(
            KeptChecks.flags(
                List.of(
                    "-Xmx4g", "-XX:UseAVX=2", "-Dfile.encoding=UTF-8", "-Xint", "-XX:+UseG1GC")))
        .isEqualTo("-XX:+UseG1GC -XX:UseAVX=2 -Xint");
  }

  /** The classes of a build folder change without their version. */
  @Test
  void nothingIsKeptOutsideOfAJar() {
    assertThat(KeptChecks.ofThisProcess(KernelProvider.scalar())).isEmpty();
  }
}
