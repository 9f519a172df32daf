package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.store.FileHash;
import dev.kvfreeze.model.store.StoreSettings;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.CodeSource;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.time.format.DateTimeParseException;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * Kernel checks that passed, a small file each in {@code kernel-checks} of the cache folder. Each
 * holds for a week, for what was checked with one build of kvfreeze in one kind of JVM. A file that
 * is not as it was written counts for nothing, and one that cannot be written costs only time.
 *
 * @param folder of the files
 * @param circumstances all that can change a check's result, beside what is checked
 */
record KeptChecks(Path folder, String circumstances, Clock clock) {
  private static final Duration VALID = Duration.ofDays(7);
  private static final String TITLE = "kernel check passed ";
  private static final int MOST_BYTES = 64 << 10;

  /** Those of this process; empty where kvfreeze is not run from its jar and may change. */
  static Optional<KeptChecks> ofThisProcess(KernelProvider provider) {
    return build()
        .map(
            build ->
                new KeptChecks(
                    StoreSettings.environmentCacheFolder().resolve("kernel-checks"),
                    String.join("\n", build, machine(provider)),
                    Clock.systemUTC()));
  }

  /** Version and size of the jar. */
  private static Optional<String> build() {
    CodeSource source = KeptChecks.class.getProtectionDomain().getCodeSource();
    String version = KeptChecks.class.getPackage().getImplementationVersion();
    if (source == null || source.getLocation() == null || version == null) {
      return Optional.empty();
    }
    try {
      Path jar = Path.of(source.getLocation().toURI());
      return Files.isRegularFile(jar)
          ? Optional.of("kvfreeze " + version + ", " + Files.size(jar) + " bytes")
          : Optional.empty();
    } catch (URISyntaxException | IllegalArgumentException | IOException e) {
      return Optional.empty();
    }
  }

  /** Processor, JVM and the flags that can change what it compiles. */
  private static String machine(KernelProvider provider) {
    return String.join(
        "\n",
        ProcessorName.read(),
        provider.name(),
        System.getProperty("java.vm.name"),
        System.getProperty("java.vm.vendor"),
        System.getProperty("java.vm.version"),
        flags(ManagementFactory.getRuntimeMXBean().getInputArguments()));
  }

  static String flags(List<String> arguments) {
    return arguments.stream()
        .filter(flag -> flag.startsWith("-XX:") || flag.matches("-X(int|comp|mixed)"))
        .sorted()
        .distinct()
        .collect(Collectors.joining(" "));
  }

  /** The day on which a check of this passed, if that still holds. */
  Optional<LocalDate> passed(String checked) {
    Path file = file(checked);
    try {
      if (!Files.isRegularFile(file) || Files.size(file) > MOST_BYTES) {
        return Optional.empty();
      }
      String text = Files.readString(file);
      int line = text.indexOf('\n');
      if (!text.startsWith(TITLE) || !text.substring(line + 1).equals(key(checked))) {
        return Optional.empty();
      }
      Instant at = Instant.parse(text.substring(TITLE.length(), line));
      Instant now = clock.instant();
      return at.isAfter(now) || at.plus(VALID).isBefore(now)
          ? Optional.empty()
          : Optional.of(LocalDate.ofInstant(at, ZoneOffset.UTC));
    } catch (IOException | DateTimeParseException | ArithmeticException e) {
      return Optional.empty(); // It is checked again.
    }
  }

  /** Remembers that a check of this passed now. */
  void keep(String checked) {
    try {
      Files.createDirectories(folder);
      Path partial = Files.createTempFile(folder, "check", ".partial");
      try {
        Files.writeString(partial, TITLE + clock.instant() + "\n" + key(checked));
        Files.move(partial, file(checked), StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(partial);
      }
    } catch (IOException e) {
      // The next start checks again.
    }
  }

  /** Forgets a check that turned out wrong. */
  void forget(String checked) {
    try {
      Files.deleteIfExists(file(checked));
    } catch (IOException e) {
      // It holds for a week at most, and decode steps are watched.
    }
  }

  private String key(String checked) {
    return circumstances + "\n" + checked + "\n";
  }

  private Path file(String checked) {
    return folder.resolve(FileHash.sha256(key(checked)) + ".txt");
  }
}
