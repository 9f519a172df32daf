package dev.kvfreeze.spark;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.engine.RealModels;
import java.nio.file.Path;
import java.util.List;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The evaluation as users run it, with the real small model. */
class EvaluateJobTest {
  private static final String POLICIES =
      "full;full:policy.sinkTokens=5;"
          + "adaptive:policy.leastTokens=0:policy.wholeTokens=0;window";

  @TempDir private Path folder;

  @Test
  void comparesPoliciesWithTheControlAndDoesNothingTwice() {
    Path output = folder.resolve("output");
    JobResult first = evaluate(output, POLICIES);
    assertThat(first.exitCode()).as(first.errors()).isZero();
    assertThat(first.output()).contains("adaptive").contains("retrieval").contains("language");
    List<Row> rows = ResultTables.rows(output, "trials");
    assertThat(rows).hasSize(8);
    for (Row row : rows) {
      String policy = row.getAs("policy");
      long peak = row.getAs("peak_resident_kv_bytes");
      long full = row.getAs("full_kv_bytes");
      if (policy.startsWith("full")) {
        // Base against base: the same to the bit.
        assertThat(row.<Double>getAs("agreement")).isEqualTo(1.0);
        assertThat(peak).isBetween(full * 9 / 10, full * 11 / 10);
      } else if (policy.startsWith("adaptive")) {
        assertThat(peak).isLessThan(full * 45 / 100);
      }
      if (row.<String>getAs("task").equals("perplexity")) {
        assertThat(row.<Double>getAs("perplexity")).isBetween(1.0, 1000.0);
        double divergence = row.getAs("divergence");
        assertThat(divergence).isBetween(policy.startsWith("full") ? -1e-4 : 1e-4, 10.0);
      } else {
        assertThat(row.<Double>getAs("score")).isBetween(0.0, 100.0);
      }
    }

    JobResult second = evaluate(output, POLICIES);
    assertThat(second.errors()).contains("2 examples, 2 of them done before");
    assertThat(ResultTables.rows(output, "trials")).hasSize(8);
  }

  @Test
  void refusesWhatItDoesNotKnow() {
    Path output = folder.resolve("output");
    assertThat(evaluate(output, "full;adaptiv").errors()).contains("did you mean adaptive");
    JobResult task =
        LocalJob.run(
            "evaluate",
            "--output",
            output.toString(),
            "--tasks",
            "niah_single",
            "--model",
            model());
    assertThat(task.exitCode()).isNotZero();
    assertThat(task.errors()).contains("unknown task 'niah_single'").contains("niah_single_1");
  }

  @Test
  void refusesLengthsThatCannotHoldAnExampleBeforeAnythingIsBegun() {
    Path output = folder.resolve("output");
    for (String[] refused :
        new String[][] {
          {"cwe", "1024", "task cwe, length 1024"},
          {"qa_2", "100", "task qa_2, length 100"},
          {"perplexity", "128", "task perplexity, length 128"},
          {"vt", "9000", "length 9000: the model's context has 8192 tokens"}
        }) {
      JobResult result =
          LocalJob.run(
              "evaluate",
              "--output",
              output.toString(),
              "--model",
              model(),
              "--tasks",
              refused[0],
              "--lengths",
              refused[1]);
      assertThat(result.exitCode()).as(result.errors()).isEqualTo(2);
      assertThat(result.errors()).contains(refused[2]).contains("--lengths");
    }
    assertThat(output.resolve("trials")).doesNotExist();
  }

  @Test
  void asksSummariesAndGoesOnWithMorePoliciesAndTheQuestionKnown() {
    Path output = folder.resolve("output");
    String[] asked = {
      "evaluate",
      "--output",
      output.toString(),
      "--model",
      model(),
      "--tasks",
      "qa_1,summary",
      "--lengths",
      "1200",
      "--samples",
      "1",
      "--first-seed",
      "7",
      "--policies"
    };
    JobResult first = LocalJob.run(with(asked, "full;adaptive"));
    assertThat(first.exitCode()).as(first.errors()).isZero();
    JobResult second = LocalJob.run(with(asked, "full;adaptive;quest;arkvale;oracle"));
    assertThat(second.exitCode()).as(second.errors()).isZero();
    assertThat(second.errors()).contains("2 examples, 0 of them done before");
    JobResult aware = LocalJob.run(with(asked, "full;adaptive", "--question", "aware"));
    assertThat(aware.exitCode()).as(aware.errors()).isZero();
    List<Row> rows = ResultTables.rows(output, "trials");
    assertThat(rows).hasSize(2 * 5 + 2 * 2);
    for (Row row : rows) {
      assertThat(row.<Long>getAs("seed")).isEqualTo(7);
      String policy = row.getAs("policy");
      long peak = row.getAs("peak_resident_kv_bytes");
      long full = row.getAs("full_kv_bytes");
      if (policy.equals("quest") || policy.equals("oracle")) {
        assertThat(peak).as("%s frees nothing", policy).isGreaterThanOrEqualTo(full);
        assertThat(row.<Double>getAs("mean_active_tokens")).isLessThan(600);
      } else if (!policy.equals("full")) {
        assertThat(peak).isLessThan(full / 2);
      }
      if (row.<String>getAs("task").equals("summary")) {
        assertThat(row.<Double>getAs("reference")).isBetween(0.0, 100.0);
        if (policy.equals("full")) {
          assertThat(row.<Double>getAs("score")).isEqualTo(100.0);
        }
      }
    }
  }

  private static String[] with(String[] arguments, String... more) {
    String[] all = java.util.Arrays.copyOf(arguments, arguments.length + more.length);
    System.arraycopy(more, 0, all, arguments.length, more.length);
    return all;
  }

  private static JobResult evaluate(Path output, String policies) {
    return LocalJob.run(
        "evaluate",
        "--output",
        output.toString(),
        "--model",
        model(),
        "--tasks",
        "passkey,perplexity",
        "--lengths",
        "600",
        "--samples",
        "1",
        "--policies",
        policies);
  }

  private static String model() {
    return RealModels.file("SmolLM2-135M-Instruct.Q4_1.gguf").toString();
  }
}
