package dev.kvfreeze.spark;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The launcher with a stand-in for spark-submit that prints its arguments, one a line. */
class LauncherTest {
  @TempDir Path folder;

  @BeforeEach
  void makeSpark() throws IOException {
    Path submit = Files.createDirectories(folder.resolve("bin")).resolve("spark-submit");
    Files.writeString(submit, "#!/bin/bash\nprintf '%s\\n' \"$@\"\nexit 3\n");
    submit.toFile().setExecutable(true);
  }

  private JobResult launch(String... arguments) throws Exception {
    List<String> command = new ArrayList<>(List.of("jobs/kvfreeze"));
    command.addAll(List.of(arguments));
    return run(command);
  }

  private JobResult run(List<String> command) throws Exception {
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().put("SPARK_HOME", folder.toString());
    Path errors = folder.resolve("errors");
    Process process = builder.redirectError(errors.toFile()).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new JobResult(process.waitFor(), output, Files.readString(errors));
  }

  @Test
  void argumentsGoToTheJobOrToSparkAndTheExitCodeComesBack() throws Exception {
    JobResult result =
        launch(
            "summarize",
            "--jar",
            "my.jar",
            "--input",
            "a folder",
            "--output",
            "out",
            "--",
            "--master",
            "local[4]");
    assertThat(result.exitCode()).as(result.errors()).isEqualTo(3);
    List<String> lines = result.output().lines().toList();
    assertThat(lines)
        .containsSubsequence("--properties-file", "--master", "local[4]", "my.jar", "summarize")
        .containsSubsequence("--input", "a folder", "--output", "out");
    assertThat(lines.get(lines.indexOf("--properties-file") + 1))
        .endsWith("conf/profiles/local.conf");
  }

  @Test
  void whatDryRunPrintsCanBeRun() throws Exception {
    JobResult dry =
        launch(
            "generate",
            "--dry-run",
            "--profile=yarn",
            "--jar=my.jar",
            "--input",
            "it's a \"path\"",
            "--output",
            "out");
    assertThat(dry.exitCode()).isZero();
    JobResult pasted = run(List.of("bash", "-c", dry.output()));
    assertThat(pasted.exitCode()).isEqualTo(3);
    assertThat(pasted.output()).contains("it's a \"path\"").contains("profiles/yarn.conf");
  }

  @Test
  void mistakesAreNamedWithTheRemedy() throws Exception {
    JobResult profile = launch("summarize", "--jar=my.jar", "--profile", "mars");
    assertThat(profile.exitCode()).isEqualTo(2);
    assertThat(profile.errors()).contains("no profile mars").contains("standalone");
    Files.delete(folder.resolve("bin/spark-submit"));
    assertThat(launch("summarize", "--jar=my.jar").errors()).contains("set SPARK_HOME");
  }
}
