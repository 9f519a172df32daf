package dev.kvfreeze.spark;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.engine.RealModels;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The table of where the time went, by the real engine in a Spark job. */
class ProfiledJobTest {
  @TempDir Path folder;

  @Test
  void theJobEndsWithTheTableOnlyWhereItIsAskedFor() throws Exception {
    Path input = Files.createDirectory(folder.resolve("in"));
    for (int i = 0; i < 3; i++) {
      Files.writeString(
          input.resolve(i + ".txt"), "The lighthouse keeper tends the lamp. ".repeat(20));
    }

    JobResult profiled = summarize(input, "--set", "engine.profile=on");
    assertThat(profiled.exitCode()).as(profiled.errors()).isZero();
    assertThat(profiled.output())
        .contains("3 done, 0 failed")
        .contains("where the time goes, ms a token\n")
        .containsPattern("feed-forward +\\d+\\.\\d{3} +\\d+\\.\\d % +\\d+\\.\\d{3} ")
        .contains("bookkeeping and page moves")
        .contains("a decode step has");

    Files.writeString(input.resolve("more.txt"), "A second run.");
    JobResult plain = summarize(input);
    assertThat(plain.exitCode()).as(plain.errors()).isZero();
    assertThat(plain.output())
        .as("the setting changes no row")
        .contains("1 done, 0 failed")
        .contains("3 done before")
        .doesNotContain("where the time goes");
  }

  private JobResult summarize(Path input, String... more) {
    String[] all = {
      "summarize",
      "--input",
      input.toString(),
      "--output",
      folder.resolve("out").toString(),
      "--model",
      RealModels.file("SmolLM2-135M-Instruct.Q4_1.gguf").toString(),
      "--max-new-tokens",
      "8",
      "--set",
      "cache.poolBytes=256m"
    };
    String[] arguments = java.util.Arrays.copyOf(all, all.length + more.length);
    System.arraycopy(more, 0, arguments, all.length, more.length);
    return LocalJob.run(arguments);
  }
}
