package dev.kvfreeze.spark.evaluation;

import dev.kvfreeze.engine.PolicyTrials;
import dev.kvfreeze.eval.EvaluationTasks;
import dev.kvfreeze.eval.NamedSetup;
import dev.kvfreeze.eval.PasskeyTask;
import dev.kvfreeze.eval.QuestionTrials;
import dev.kvfreeze.eval.TextTrials;
import dev.kvfreeze.eval.TrialResult;
import dev.kvfreeze.model.tokenizer.Tokenizer.SpecialTokens;
import dev.kvfreeze.spark.output.OutputSchemas;
import dev.kvfreeze.spark.output.TableFiles;
import dev.kvfreeze.spark.output.TableRow;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.SerializableConfiguration;

/** A Spark task: examples through all policies, one file of rows an example. */
final class EvaluationTaskFunction implements FlatMapFunction<Iterator<EvaluationItem>, Long> {
  private static final long serialVersionUID = 1;

  /** Tokens fed to measure perplexity. */
  private static final int FED_TOKENS = 128;

  /** Tokens of the shortest text: as many read as fed. */
  static final int LEAST_TEXT_TOKENS = 2 * FED_TOKENS;

  private final EvaluationRun run;

  /** Policies that have answered an example before. */
  private final HashMap<EvaluationItem, Set<String>> answered;

  private final Broadcast<SerializableConfiguration> hadoop;

  EvaluationTaskFunction(
      EvaluationRun run,
      HashMap<EvaluationItem, Set<String>> answered,
      Broadcast<SerializableConfiguration> hadoop) {
    this.run = run;
    this.answered = answered;
    this.hadoop = hadoop;
  }

  @Override
  public Iterator<Long> call(Iterator<EvaluationItem> items) throws Exception {
    long done = 0;
    while (items.hasNext()) {
      EvaluationItem item = items.next();
      List<TableRow> rows =
          ExecutorTrials.use(
              run.settings().values().iterator().next(),
              run.modelHash(),
              hadoop.value().value(),
              trials -> rows(item, trials));
      TableFiles.write(
          run.output(),
          OutputSchemas.TRIALS,
          "%s-%s-%d-%d".formatted(run.runId(), item.task(), item.length(), item.seed()),
          rows,
          hadoop.value().value());
      done++;
    }
    return List.of(done).iterator();
  }

  private List<TableRow> rows(EvaluationItem item, ExecutorTrials executor) throws IOException {
    PolicyTrials trials = executor.trials();
    List<NamedSetup> setups =
        missing(item, EvaluationSetups.of(run.settings(), trials.model().spec(), item.length()));
    boolean text = item.task().equals(EvaluationItem.PERPLEXITY);
    List<TrialResult> results =
        text
            ? new TextTrials(trials)
                .run(item.task(), tokens(item, executor), FED_TOKENS, item.seed(), setups)
            : new QuestionTrials(trials, executor.haystack())
                .run(
                    EvaluationTasks.of(item.task()),
                    item.length(),
                    item.seed(),
                    setups,
                    run.decision().equals("aware")
                        ? PolicyTrials.Decision.AT_THE_END
                        : PolicyTrials.Decision.EACH_CHUNK);
    boolean placed = item.task().equals("passkey") || item.task().equals("needle_grid");
    double depth = placed ? PasskeyTask.depth(item.seed()) : Double.NaN;
    List<TableRow> rows = new ArrayList<>();
    Set<String> before = answered.getOrDefault(item, Set.of());
    for (TrialResult result : results) {
      if (before.contains(result.policy())) {
        continue;
      }
      rows.add(
          TrialsTable.row(
              result, run, trials.device().provider(), trials.device().device(), depth));
    }
    return rows;
  }

  /** The control, which the others are compared with, and those that have not answered yet. */
  private List<NamedSetup> missing(EvaluationItem item, List<NamedSetup> setups) {
    Set<String> before = answered.getOrDefault(item, Set.of());
    List<NamedSetup> missing = new ArrayList<>();
    for (NamedSetup setup : setups) {
      if (missing.isEmpty() || !before.contains(setup.label())) {
        missing.add(setup);
      }
    }
    return missing;
  }

  /** A stretch of prose; each seed another one. */
  private static int[] tokens(EvaluationItem item, ExecutorTrials executor) {
    List<String> texts = executor.texts();
    int text = (int) Math.floorMod(item.seed(), (long) texts.size());
    StringBuilder prose = new StringBuilder(texts.get(text));
    for (int next = 1; next < texts.size(); next++) {
      prose.append("\n\n").append(texts.get((text + next) % texts.size()));
    }
    int[] all =
        executor.trials().model().tokenizer().encode(prose.toString(), SpecialTokens.AS_TEXT);
    int from = (int) (item.seed() / texts.size() * 997 % Math.max(1, all.length - item.length()));
    return Arrays.copyOfRange(all, from, Math.min(all.length, from + item.length()));
  }
}
