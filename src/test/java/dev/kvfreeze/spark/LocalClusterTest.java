package dev.kvfreeze.spark;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.spark.toy.ToyEngineFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Executors in JVMs of their own: two workers, each with its engine. */
class LocalClusterTest {
  private static final String CLUSTER = "local-cluster[2,1,1024]";

  @TempDir Path folder;

  @Test
  void twoExecutorsShareTheWork() throws Exception {
    Path input = Files.createDirectory(folder.resolve("in"));
    Path output = folder.resolve("out");
    for (int i = 0; i < 12; i++) {
      Files.writeString(input.resolve(i + ".txt"), "SLEEP 500 document " + i);
    }
    Files.writeString(input.resolve("bad.txt"), "FAIL");
    ForkedJob job = ForkedJob.start(folder, CLUSTER, arguments(input, output));
    assertThat(job.waitFor()).as(job.log()).isEqualTo(3);
    List<Row> rows = ResultTables.rows(output, "generations");
    assertThat(rows).hasSize(13);
    assertThat(
            rows.stream().map(row -> row.<String>getAs("executor_id")).collect(Collectors.toSet()))
        .containsExactlyInAnyOrder("0", "1");
    assertThat(job.log()).contains("12 done, 1 failed").contains("engine ready");
  }

  @Test
  void aModelThatExecutorsRefuseStopsTheJobWithOneMessage() throws Exception {
    Path input = Files.writeString(folder.resolve("a.txt"), "hello");
    Path output = folder.resolve("out");
    List<String> arguments =
        Stream.concat(
                arguments(input, output).stream(),
                Stream.of("--model", ToyEngineFactory.BROKEN_ON_EXECUTORS))
            .toList();
    ForkedJob job = ForkedJob.start(folder, CLUSTER, arguments);
    assertThat(job.waitFor()).as(job.log()).isEqualTo(1);
    assertThat(job.log())
        .contains("toy.gguf: it is truncated; download it again")
        .doesNotContain("\tat ");
    assertThat(output.resolve("generations")).doesNotExist();
  }

  private static List<String> arguments(Path input, Path output) {
    return List.of("summarize", "--input", input.toString(), "--output", output.toString());
  }
}
