package dev.kvfreeze.spark;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A job that is killed without warning goes on where it was; no row is lost or there twice. */
class KilledJobTest {
  private static final int DOCUMENTS = 24;

  @TempDir Path folder;

  @Test
  void theNextRunDoesTheRest() throws Exception {
    Path input = Files.createDirectory(folder.resolve("in"));
    Path output = folder.resolve("out");
    for (int i = 0; i < DOCUMENTS; i++) {
      Files.writeString(input.resolve(i + ".txt"), "SLEEP 700 document " + i);
    }
    List<String> arguments =
        List.of(
            "summarize",
            "--input",
            input.toString(),
            "--output",
            output.toString(),
            "--set",
            "output.commitDocuments=2",
            "--set",
            "engine.maxBatch=2");
    ForkedJob job = ForkedJob.start(folder, "local[2]", arguments);
    while (job.running() && published(output) < 3) {
      Thread.sleep(50);
    }
    assertThat(job.running()).as(job.log()).isTrue();
    job.kill();
    int before = published(output);
    assertThat(output.resolve("_kvfreeze.lock")).exists();
    // A file of steps whose generations were never published, as a kill between the two leaves it.
    Path orphan = output.resolve("steps/part-orphan-00000-0-00000.parquet");
    try (var steps = Files.list(output.resolve("steps"))) {
      Path some = steps.filter(file -> file.toString().endsWith(".parquet")).findAny().get();
      Files.copy(some, orphan);
    }

    ForkedJob again = ForkedJob.start(folder, "local[2]", arguments);
    assertThat(again.waitFor()).as(again.log()).isZero();

    assertThat(again.log()).contains("an earlier run was interrupted");
    List<Row> rows = ResultTables.rows(output, "generations");
    assertThat(rows).hasSize(DOCUMENTS).allMatch(row -> row.getAs("status").equals("ok"));
    Set<Object> ids = new HashSet<>();
    Set<Object> runs = new HashSet<>();
    rows.forEach(row -> ids.add(row.getAs("document_id")));
    rows.forEach(row -> runs.add(row.getAs("run_id")));
    assertThat(ids).hasSize(DOCUMENTS);
    assertThat(runs).as("the first run's rows are kept").hasSize(2);
    assertThat(orphan).doesNotExist();
    assertThat(ResultTables.rows(output, "steps")).hasSize(2 * DOCUMENTS);
    assertThat(ResultTables.rows(output, "runs"))
        .extracting(row -> row.<String>getAs("status"))
        .containsExactlyInAnyOrder("interrupted", "finished");
    assertThat(before).isLessThan(DOCUMENTS / 2);
    assertThat(output.resolve("_kvfreeze.lock")).doesNotExist();
    assertThat(output.resolve("_temporary")).doesNotExist();
  }

  @Test
  void twoJobsDoNotWriteToOneFolder() throws Exception {
    Path input = Files.createDirectory(folder.resolve("in"));
    Path output = folder.resolve("out");
    Files.writeString(input.resolve("slow.txt"), "SLEEP 60000");
    List<String> arguments =
        List.of("summarize", "--input", input.toString(), "--output", output.toString());
    ForkedJob first = ForkedJob.start(folder, "local[1]", arguments);
    try {
      while (first.running() && !Files.exists(output.resolve("_kvfreeze.lock"))) {
        Thread.sleep(50);
      }
      JobResult second = LocalJob.toy(arguments.toArray(String[]::new));
      assertThat(second.exitCode()).isEqualTo(2);
      assertThat(second.errors()).contains("is writing there");
    } finally {
      first.kill();
    }
  }

  private static int published(Path output) throws IOException {
    Path generations = output.resolve("generations");
    if (!Files.isDirectory(generations)) {
      return 0;
    }
    try (var files = Files.list(generations)) {
      return (int)
          files.filter(file -> file.getFileName().toString().matches("part.*\\.parquet")).count();
    }
  }
}
