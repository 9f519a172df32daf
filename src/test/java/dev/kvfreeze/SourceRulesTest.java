package dev.kvfreeze;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.platform.commons.annotation.Testable;

/** Rules that need the source files, or the tests themselves. */
class SourceRulesTest {
  private static final Path MAIN = Path.of("src", "main", "java");
  private static final Path TEST = Path.of("src", "test", "java");

  /** Files are split at about 400 lines; the rest is for what the formatter adds. */
  private static final int MOST_LINES = 440;

  @Test
  void everyPackageSaysWhatLivesThere() throws IOException {
    List<Path> folders;
    try (Stream<Path> files = Files.walk(MAIN)) {
      folders =
          files
              .filter(file -> file.toString().endsWith(".java"))
              .map(Path::getParent)
              .distinct()
              .toList();
    }
    assertThat(folders).isNotEmpty();
    assertThat(folders)
        .filteredOn(folder -> !Files.exists(folder.resolve("package-info.java")))
        .as("packages without a package-info.java")
        .isEmpty();
  }

  @Test
  void filesAreSplitBeforeTheyGrowLong() {
    assertThat(Stream.of(MAIN, TEST).flatMap(SourceRulesTest::javaFiles))
        .filteredOn(file -> lines(file) > MOST_LINES)
        .as("files of more than %d lines", MOST_LINES)
        .isEmpty();
  }

  /** Surefire takes XTest, Failsafe XIT; a test class of another name would never run. */
  @Test
  void testsHaveNamesThatTheRunnerTakes() {
    List<String> testClasses =
        new ClassFileImporter()
                .withImportOption(ImportOption.Predefined.ONLY_INCLUDE_TESTS)
                .importPackages("dev.kvfreeze")
                .stream()
                .filter(SourceRulesTest::declaresTests)
                .map(SourceRulesTest::outermost)
                .distinct()
                .toList();
    assertThat(testClasses).isNotEmpty();
    assertThat(testClasses)
        .filteredOn(name -> !name.endsWith("Test") && !name.endsWith("IT"))
        .as("test classes that no runner takes")
        .isEmpty();
  }

  /** Spark reads its own log4j2.properties; a copy in the jar would override the cluster's. */
  @Test
  void theJarSetsNoLoggingOfItsOwn() {
    assertThat(Path.of("src", "main", "resources", "log4j2.properties")).doesNotExist();
    assertThat(Path.of("src", "main", "resources", "log4j2.xml")).doesNotExist();
  }

  private static boolean declaresTests(JavaClass type) {
    return type.getMethods().stream().anyMatch(method -> method.isMetaAnnotatedWith(Testable.class))
        || type.getFields().stream().anyMatch(field -> field.isMetaAnnotatedWith(Testable.class));
  }

  private static String outermost(JavaClass type) {
    JavaClass outer = type;
    while (outer.getEnclosingClass().isPresent()) {
      outer = outer.getEnclosingClass().get();
    }
    return outer.getName();
  }

  private static Stream<Path> javaFiles(Path root) {
    try (Stream<Path> files = Files.walk(root)) {
      return files.filter(file -> file.toString().endsWith(".java")).toList().stream();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static long lines(Path file) {
    try (Stream<String> lines = Files.lines(file)) {
      return lines.count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
