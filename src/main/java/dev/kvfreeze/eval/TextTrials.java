package dev.kvfreeze.eval;

import dev.kvfreeze.cache.PrefilledContext;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.engine.Generation;
import dev.kvfreeze.engine.GenerationRequest;
import dev.kvfreeze.engine.PolicyTrials;
import dev.kvfreeze.engine.SamplingOptions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * Feeds a text token by token with the policy active (teacher forcing) and compares every
 * distribution with the control's: perplexity, top-1 agreement, Kullback-Leibler divergence. The
 * first setup is the control.
 */
public final class TextTrials {
  /** Tokens before the fed ones that are read with the policy's exact prefill, as a question. */
  private static final int QUESTION_TOKENS = 64;

  private final PolicyTrials trials;

  public TextTrials(PolicyTrials trials) {
    this.trials = trials;
  }

  /**
   * A result for each setup, in order.
   *
   * @param tokens the text: all but the last {@code fed} are read before
   */
  public List<TrialResult> run(
      String task, int[] tokens, int fed, long seed, List<NamedSetup> setups) {
    int read = tokens.length - fed;
    int contextTokens = Math.max(0, read - QUESTION_TOKENS);
    int[] begin = Arrays.copyOf(tokens, contextTokens);
    Map<KvFormat, PrefilledContext> contexts = new EnumMap<>(KvFormat.class);
    GenerationRequest request =
        new GenerationRequest(
            task + "-" + tokens.length + "-" + seed,
            Arrays.copyOf(tokens, read),
            fed,
            SamplingOptions.GREEDY,
            List.of(),
            0,
            contextTokens);
    int[] forced = Arrays.copyOfRange(tokens, read, tokens.length);
    List<float[]> control = new ArrayList<>();
    List<TrialResult> results = new ArrayList<>();
    for (NamedSetup setup : setups) {
      Comparison comparison = new Comparison(forced, control, results.isEmpty());
      PrefilledContext context =
          contextTokens == 0
              ? null
              : contexts.computeIfAbsent(
                  setup.setup().format(), format -> trials.read(begin, format));
      Generation generation =
          trials.force(setup.setup(), request, context, forced, comparison::accept);
      results.add(
          new TrialResult(
              task,
              "language",
              tokens.length,
              seed,
              setup.label(),
              read,
              Double.NaN,
              Double.NaN,
              comparison.agreement(),
              comparison.perplexity(),
              comparison.divergence(),
              generation.statistics(),
              ""));
    }
    return results;
  }

  /** Sums over the fed tokens. */
  private static final class Comparison {
    private final int[] forced;
    private final List<float[]> control;
    private final boolean isControl;
    private int step;
    private int same;
    private double surprise;
    private double divergence;

    Comparison(int[] forced, List<float[]> control, boolean isControl) {
      this.forced = forced;
      this.control = control;
      this.isControl = isControl;
    }

    void accept(LogitStatistics statistics, float[] logits, dev.kvfreeze.cache.CacheUsage usage) {
      double normaliser = statistics.logSumExp();
      surprise += normaliser - logits[forced[step]];
      if (isControl) {
        float[] logProbabilities = logits.clone();
        for (int i = 0; i < logProbabilities.length; i++) {
          logProbabilities[i] -= (float) normaliser;
        }
        control.add(logProbabilities);
      }
      float[] expected = control.get(step);
      int best = 0;
      for (int i = 0; i < expected.length; i++) {
        best = expected[i] > expected[best] ? i : best;
        if (expected[i] > -20) {
          divergence += Math.exp(expected[i]) * (expected[i] - (logits[i] - normaliser));
        }
      }
      same += best == statistics.argmax() ? 1 : 0;
      step++;
    }

    double agreement() {
      return (double) same / step;
    }

    double perplexity() {
      return Math.exp(surprise / step);
    }

    double divergence() {
      return divergence / step;
    }
  }
}
