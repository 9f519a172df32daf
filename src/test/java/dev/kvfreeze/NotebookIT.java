package dev.kvfreeze;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The notebook runs from top to bottom on the output of a small real run, and saves its figure. */
class NotebookIT {
  private static final Path ROOT = Path.of("").toAbsolutePath();
  private static final Path VENV = ROOT.resolve(".venv").resolve("bin");

  @TempDir private Path folder;

  @Test
  void drawsARunOfTwoPolicies() throws Exception {
    Path input = sample();
    Path output = folder.resolve("output");
    Path figures = folder.resolve("figures");
    summarize(input, output, "full");
    Outcome onlyFull = convert(output, figures);
    assertThat(onlyFull.exitCode()).isNotZero();
    assertThat(onlyFull.text()).contains("froze a token; run one with --policy paper");

    summarize(input, output, "paper");
    Outcome both = convert(output, figures);
    assertThat(both.exitCode()).as(both.text()).isZero();
    assertThat(figures.resolve("compression.png")).isNotEmptyFile();
    String notebook = Files.readString(folder.resolve("executed.ipynb"));
    assertThat(count(notebook, "\"image/png\"")).isEqualTo(4);
    assertThat(notebook).contains("full cache").doesNotContain("\"output_type\": \"error\"");
  }

  @Test
  void drawsAnEvaluation() throws Exception {
    Path evaluation = folder.resolve("evaluation");
    Path figures = folder.resolve("figures");
    Outcome outcome =
        run(
            Map.of(),
            ROOT.resolve("jobs/kvfreeze").toString(),
            "evaluate",
            "--output",
            evaluation.toString(),
            "--lengths",
            "400,600",
            "--tasks",
            "niah_single_1,passkey,perplexity",
            "--samples",
            "1",
            "--policies",
            "full;adaptive;window:policy.cap=25%");
    assertThat(outcome.exitCode()).as(outcome.text()).isZero();
    Outcome converted =
        convert("quality", Map.of("KVFREEZE_EVALUATION", evaluation.toString()), figures);
    assertThat(converted.exitCode()).as(converted.text()).isZero();
    assertThat(figures.resolve("quality.png")).isNotEmptyFile();
    assertThat(figures.resolve("language.png")).isNotEmptyFile();
    String notebook = Files.readString(folder.resolve("executed.ipynb"));
    assertThat(count(notebook, "\"image/png\"")).isEqualTo(4);
    assertThat(notebook)
        .contains("No recoveries in this evaluation")
        .doesNotContain("\"output_type\": \"error\"");
  }

  private Path sample() throws IOException {
    Path input = Files.createDirectory(folder.resolve("input"));
    String text =
        Files.readString(ROOT.resolve("jobs/samples/state-of-the-union-roosevelt-1941.txt"));
    Files.writeString(input.resolve("speech-opening.txt"), text.substring(0, 2_000));
    Files.writeString(input.resolve("speech-middle.txt"), text.substring(6_000, 9_500));
    return input;
  }

  private void summarize(Path input, Path output, String policy) throws Exception {
    Outcome outcome =
        run(
            Map.of(),
            ROOT.resolve("jobs/kvfreeze").toString(),
            "summarize",
            "--input",
            input.toString(),
            "--output",
            output.toString(),
            "--policy",
            policy,
            "--max-new-tokens",
            "96",
            "--set",
            "generation.stepInterval=4");
    assertThat(outcome.exitCode()).as(outcome.text()).isZero();
  }

  private Outcome convert(Path output, Path figures) throws Exception {
    return convert("compression", Map.of("KVFREEZE_OUTPUT", output.toString()), figures);
  }

  private Outcome convert(String notebook, Map<String, String> environment, Path figures)
      throws Exception {
    Map<String, String> all = new HashMap<>(environment);
    all.put("KVFREEZE_FIGURES", figures.toString());
    return run(
        all,
        VENV.resolve("python").toString(),
        "-m",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        ROOT.resolve("notebooks/" + notebook + ".ipynb").toString(),
        "--output",
        folder.resolve("executed.ipynb").toString());
  }

  private record Outcome(int exitCode, String text) {}

  private Outcome run(Map<String, String> environment, String... command) throws Exception {
    Path log = Files.createTempFile(folder, "command", ".log");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(ROOT.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    builder.environment().putAll(environment);
    Process process = builder.start();
    boolean ended = process.waitFor(5, TimeUnit.MINUTES);
    if (!ended) {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
    String text = Files.readString(log, StandardCharsets.UTF_8);
    assertThat(ended)
        .as("%s did not end in five minutes:%n%s", Arrays.toString(command), text)
        .isTrue();
    return new Outcome(process.exitValue(), text);
  }

  private static long count(String text, String part) {
    return (text.length() - text.replace(part, "").length()) / part.length();
  }
}
