package dev.kvfreeze.eval;

import dev.kvfreeze.cache.PrefilledContext;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.engine.Generation;
import dev.kvfreeze.engine.GenerationRequest;
import dev.kvfreeze.engine.PolicyTrials;
import dev.kvfreeze.engine.SamplingOptions;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * Answers a task's example under many policies, all from one reading of its context. The first
 * setup is the control that the others' tokens are compared with.
 */
public final class QuestionTrials {
  private final PolicyTrials trials;
  private final Haystack haystack;

  public QuestionTrials(PolicyTrials trials, Haystack haystack) {
    this.trials = trials;
    this.haystack = haystack;
  }

  /** A result for each setup, in order. */
  public List<TrialResult> run(
      EvaluationTask task,
      int length,
      long seed,
      List<NamedSetup> setups,
      PolicyTrials.Decision decision) {
    EvaluationExample example =
        task.example(ExampleSize.of(task, length, trials.model().tokenizer()), haystack, seed);
    QuestionPrompt prompt = QuestionPrompt.of(trials.model(), example);
    Map<KvFormat, PrefilledContext> contexts = new EnumMap<>(KvFormat.class);
    GenerationRequest request =
        new GenerationRequest(
            task.name() + "-" + length + "-" + seed,
            prompt.tokens(),
            task.answerTokens(),
            SamplingOptions.GREEDY,
            List.of(),
            0,
            prompt.contextTokens());
    List<TrialResult> results = new ArrayList<>();
    int[] control = null;
    String controlText = null;
    for (NamedSetup setup : setups) {
      PrefilledContext context =
          contexts.computeIfAbsent(
              setup.setup().format(), format -> trials.read(prompt.context(), format));
      Generation generation = trials.generate(setup.setup(), request, context, decision);
      control = control == null ? generation.tokens() : control;
      controlText = controlText == null ? generation.text() : controlText;
      results.add(
          new TrialResult(
              task.name(),
              task.family(),
              length,
              seed,
              setup.label(),
              prompt.tokens().length,
              task.score(example, generation.text(), controlText),
              task.reference(example, generation.text()),
              agreement(control, generation.tokens()),
              Double.NaN,
              Double.NaN,
              generation.statistics(),
              generation.text()));
    }
    return results;
  }

  /** The share of the control's tokens that are the same at the same place. */
  static double agreement(int[] control, int[] tokens) {
    int same = 0;
    for (int i = 0; i < Math.min(control.length, tokens.length); i++) {
      same += control[i] == tokens[i] ? 1 : 0;
    }
    int longest = Math.max(control.length, tokens.length);
    return longest == 0 ? 1 : (double) same / longest;
  }
}
