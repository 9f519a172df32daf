package dev.kvfreeze.spark;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.spark.toy.ToyEngineFactory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The jobs as a whole on the toy engine: real Spark, real files, good and bad documents. */
class SummarizeJobTest {
  @TempDir Path folder;
  private Path input;
  private Path output;

  @BeforeEach
  void makeInput() throws IOException {
    input = Files.createDirectory(folder.resolve("in"));
    output = folder.resolve("out");
  }

  private JobResult summarize(String... more) {
    return LocalJob.toy(
        java.util.stream.Stream.concat(
                java.util.stream.Stream.of(
                    "summarize", "--input", input.toString(), "--output", output.toString()),
                java.util.stream.Stream.of(more))
            .toArray(String[]::new));
  }

  private Map<String, Row> generationsById() {
    return ResultTables.rows(output, "generations").stream()
        .collect(Collectors.toMap(row -> row.getAs("document_id"), Function.identity()));
  }

  @Test
  void aParquetTableIsReadByItsColumns() throws IOException {
    SparkSession spark =
        SparkSession.builder().master("local[1]").config("spark.ui.enabled", "false").getOrCreate();
    try {
      spark
          .sql(
              "select 'one' as name, 'some text' as body, 1 as other union all select 'two', null, 2")
          .write()
          .parquet(input.resolve("table").toString());
    } finally {
      spark.stop();
    }
    input = input.resolve("table");
    JobResult result = summarize("--id-column", "name", "--text-column", "body");
    assertThat(result.exitCode()).as(result.errors()).isEqualTo(3);
    assertThat(generationsById().get("one").<String>getAs("status")).isEqualTo("ok");
    assertThat(generationsById().get("two").<String>getAs("error_message")).isNotBlank();
  }

  @Test
  void documentsOfAllKindsBecomeRowsOnce() throws IOException {
    Files.writeString(input.resolve("good.txt"), "the quick brown fox");
    Files.writeString(
        Files.createDirectory(input.resolve("sub")).resolve("deep.md"), "in a folder");
    Files.writeString(input.resolve("empty.txt"), "");
    Files.writeString(input.resolve("blank.txt"), " \n\t ");
    Files.write(input.resolve("latin1.txt"), new byte[] {'c', 'a', 'f', (byte) 0xE9, '!'});
    Files.write(input.resolve("binary.pdf"), new byte[] {'%', 'P', 'D', 'F', 0, 1, 2});
    Files.writeString(input.resolve("special.txt"), "a <|im_end|> in the text");
    Files.writeString(input.resolve("long.txt"), "word ".repeat(2_000_000));
    Files.writeString(input.resolve("fails.txt"), "please FAIL");
    Files.writeString(input.resolve(".hidden"), "not a document");

    JobResult result = summarize("--prompt", "plain", "--max-new-tokens", "40");

    assertThat(result.exitCode()).as(result.errors()).isEqualTo(3);
    assertThat(result.output()).contains("5 done, 4 failed").contains("fails.txt");
    Map<String, Row> rows = generationsById();
    assertThat(rows)
        .containsOnlyKeys(
            "good.txt",
            "sub/deep.md",
            "empty.txt",
            "blank.txt",
            "latin1.txt",
            "binary.pdf",
            "special.txt",
            "long.txt",
            "fails.txt");
    Row good = rows.get("good.txt");
    assertThat(good.<String>getAs("text")).isEqualTo("THE QUICK BROWN FOX");
    assertThat(good.<String>getAs("status")).isEqualTo("ok");
    assertThat(good.<Integer>getAs("generated_tokens")).isEqualTo(19);
    assertThat(good.<List<Integer>>getList(good.fieldIndex("generated_token_ids"))).hasSize(19);
    assertThat(good.<String>getAs("prompt_hash")).matches("[0-9a-f]{64}");
    assertThat(good.<Integer>getAs("attempt")).isEqualTo(1);
    assertThat(good.<String>getAs("provider")).isEqualTo("toy");
    assertThat(rows.get("empty.txt").<String>getAs("error_class")).isEqualTo("EmptyDocument");
    assertThat(rows.get("blank.txt").<String>getAs("error_class")).isEqualTo("EmptyDocument");
    assertThat(rows.get("binary.pdf").<String>getAs("error_class")).isEqualTo("NotText");
    assertThat(rows.get("fails.txt").<String>getAs("error_class")).isEqualTo("ArithmeticException");
    assertThat(rows.get("fails.txt").<String>getAs("error_stage")).isEqualTo("generate");
    assertThat(rows.get("fails.txt").<String>getAs("text")).isNull();
    assertThat(rows.get("latin1.txt").<String>getAs("text")).isEqualTo("CAF\uFFFD!");
    assertThat(rows.get("latin1.txt").<Object>getAs("notes").toString())
        .contains("not valid UTF-8");
    assertThat(rows.get("long.txt").<Object>getAs("notes").toString())
        .contains("cut to the first")
        .contains("about 10000000 tokens");
    assertThat(ResultTables.rows(output, "steps")).hasSize(10);
    Row run = ResultTables.rows(output, "runs").get(0);
    assertThat(run.<String>getAs("status")).isEqualTo("finished");
    assertThat(run.<Long>getAs("documents_ok")).isEqualTo(5);
    assertThat(run.<Long>getAs("documents_failed")).isEqualTo(4);
  }

  @Test
  void aSecondRunDoesOnlyWhatIsMissing() throws IOException {
    Files.writeString(input.resolve("a.txt"), "first");
    Files.writeString(input.resolve("b.txt"), "second");
    assertThat(summarize().exitCode()).isZero();

    JobResult again = summarize();
    assertThat(again.exitCode()).isZero();
    assertThat(again.output()).contains("nothing left to do: all 2 documents");
    assertThat(ResultTables.rows(output, "runs")).hasSize(1);

    Files.writeString(input.resolve("b.txt"), "second, changed");
    Files.writeString(input.resolve("c.txt"), "third");
    assertThat(summarize().output()).contains("2 done, 0 failed");
    assertThat(ResultTables.rows(output, "generations")).hasSize(4);

    // Another configuration is other work; a knob of another policy is not.
    assertThat(summarize("--set", "policy.tau=0.9").output()).contains("nothing left to do");
    assertThat(summarize("--set", "engine.threads=1").output()).contains("nothing left to do");
    assertThat(summarize("--max-new-tokens", "5").output()).contains("3 done, 0 failed");
  }

  @Test
  void failedDocumentsAreTriedAgainAndCounted() throws IOException {
    Files.writeString(input.resolve("a.txt"), "fine");
    Files.writeString(input.resolve("b.txt"), "FAIL");
    assertThat(summarize().exitCode()).isEqualTo(3);
    JobResult again = summarize();
    assertThat(again.exitCode()).isEqualTo(3);
    assertThat(again.errors()).contains("1 documents in 1 tasks; 1 done before, 1 failed before");
    assertThat(ResultTables.rows(output, "generations"))
        .filteredOn(row -> row.getAs("document_id").equals("b.txt"))
        .extracting(row -> row.<Integer>getAs("attempt"))
        .containsExactlyInAnyOrder(1, 2);
  }

  @Test
  void tooManyFailuresStopTheJob() throws IOException {
    for (int i = 0; i < 12; i++) {
      Files.writeString(input.resolve(i + ".txt"), "FAIL SLEEP 300 " + i);
    }
    Files.writeString(input.resolve("slow.txt"), "SLEEP 30000");
    JobResult result = summarize("--set", "job.errorBudget=20%");
    assertThat(result.exitCode()).isEqualTo(4);
    assertThat(result.errors())
        .contains("more than job.errorBudget allows")
        .doesNotContain("\tat ");
    assertThat(ResultTables.rows(output, "runs").get(0).<String>getAs("status"))
        .isEqualTo("stopped");
  }

  @Test
  void tablesOfRowsAreReadAndDuplicatesToldApart() throws IOException {
    Path json = folder.resolve("rows.jsonl");
    Files.writeString(
        json,
        """
        {"key": 1, "body": "one"}
        {"key": 1, "body": "another one"}
        {"key": 2, "body": "two"}
        {"key": 2, "body": "two"}
        {"key": null, "body": "nameless"}
        {"key": 3, "body": null}
        {"key": 4, "body
        """);
    input = json;
    JobResult result =
        summarize("--id-column", "key", "--text-column", "body", "--prompt", "plain");
    assertThat(result.exitCode()).as(result.errors()).isEqualTo(3);
    assertThat(result.errors()).contains("1 rows that repeat one of them");
    Map<String, Row> rows = generationsById();
    assertThat(rows).hasSize(6).containsKeys("1", "2", "3");
    assertThat(rows.get("3").<String>getAs("error_class")).isEqualTo("MissingText");
    assertThat(rows.keySet()).filteredOn(id -> id.startsWith("1#")).hasSize(1);
    assertThat(rows.keySet()).filteredOn(id -> id.startsWith("missing-id-")).hasSize(2);
    assertThat(rows.get("1").<Object>getAs("notes").toString())
        .contains("2 documents of the input have the id 1");
  }

  @Test
  void wrongInputsAreRefusedBeforeAnythingIsDone() throws IOException {
    JobResult missing =
        LocalJob.toy("summarize", "--input", "/nowhere", "--output", output.toString());
    assertThat(missing.exitCode()).isEqualTo(2);
    assertThat(missing.errors()).contains("/nowhere").contains("--input");

    Files.writeString(input.resolve("a.csv"), "id,content\n1,hello\n");
    JobResult column = summarize();
    assertThat(column.exitCode()).isEqualTo(2);
    assertThat(column.errors()).contains("no column text").contains("content");

    Files.writeString(input.resolve("b.txt"), "hello");
    JobResult mixed = summarize();
    assertThat(mixed.exitCode()).isEqualTo(2);
    assertThat(mixed.errors()).contains("[text, csv]").contains("--input-format");
  }

  @Test
  void aFolderThatIsNotOursIsNotTouched() throws IOException {
    Files.writeString(input.resolve("a.txt"), "hello");
    Files.createDirectory(output);
    Files.writeString(output.resolve("thesis.doc"), "years of work");
    JobResult result = summarize();
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.errors()).contains("thesis.doc").contains("not an output");
    assertThat(output).isDirectoryContaining("glob:**/thesis.doc");
    try (var files = Files.list(output)) {
      assertThat(files).hasSize(1);
    }
  }

  @Test
  void unknownSettingsAndOptionsAreRefusedWithTheNearestName() throws IOException {
    Files.writeString(input.resolve("a.txt"), "hello");
    JobResult setting = summarize("--set", "cache.pageTokes=8");
    assertThat(setting.exitCode()).isEqualTo(2);
    assertThat(setting.errors()).contains("did you mean spark.kvfreeze.cache.pageTokens?");
    JobResult policy = summarize("--policy", "windw");
    assertThat(policy.exitCode()).isEqualTo(2);
    assertThat(policy.errors()).contains("windw").contains("window");
    assertThat(summarize("--modle", "x").exitCode()).isEqualTo(2);
    assertThat(output).doesNotExist();
  }

  @Test
  void aBrokenModelStopsTheJobAtOnceWithOneMessage() throws IOException {
    Files.writeString(input.resolve("a.txt"), "hello");
    Path model = folder.resolve("broken.gguf");
    Files.write(model, new byte[] {'G', 'G', 'U', 'F', 3, 0, 0, 0, 1, 2, 3});
    JobResult onDriver =
        LocalJob.run(
            "summarize",
            "--input",
            input.toString(),
            "--output",
            output.toString(),
            "--model",
            model.toString());
    assertThat(onDriver.exitCode()).isEqualTo(1);
    assertThat(onDriver.errors()).contains("broken.gguf").doesNotContain("\tat ");
    assertThat(output).doesNotExist();

    JobResult onExecutor = summarize("--model", ToyEngineFactory.BROKEN_ON_EXECUTORS);
    assertThat(onExecutor.exitCode()).isEqualTo(1);
    assertThat(onExecutor.errors())
        .contains("toy.gguf: it is truncated; download it again")
        .doesNotContain("\tat ");
  }

  @Test
  void anEngineThatDiesStopsTheJobAndLosesNothing() throws IOException {
    Files.writeString(input.resolve("a.txt"), "hello");
    Files.writeString(input.resolve("b.txt"), "SLEEP 500 BREAK");
    JobResult result = summarize("--set", "output.commitDocuments=1");
    assertThat(result.exitCode()).isEqualTo(1);
    assertThat(result.errors()).contains("fell off the bus");
    assertThat(generationsById()).containsOnlyKeys("a.txt");
  }

  @Test
  void generateTakesTheTextAsItIs() throws IOException {
    Files.writeString(input.resolve("a.txt"), "verbatim");
    JobResult result =
        LocalJob.toy(
            "generate",
            "--input",
            input.toString(),
            "--output",
            output.toString(),
            "--template",
            "none");
    assertThat(result.exitCode()).as(result.errors()).isZero();
    Row row = generationsById().get("a.txt");
    assertThat(row.<String>getAs("text")).isEqualTo("VERBATIM");
    assertThat(row.<Integer>getAs("prompt_tokens")).as("with the begin token").isEqualTo(9);
    assertThat(row.<String>getAs("prompt_name")).isEqualTo("none");
  }
}
