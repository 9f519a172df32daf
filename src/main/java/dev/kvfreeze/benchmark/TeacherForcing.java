package dev.kvfreeze.benchmark;

import dev.kvfreeze.cache.CacheUsage;
import dev.kvfreeze.cache.ColdStore;
import dev.kvfreeze.cache.HostColdStore;
import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.engine.ForwardSlice;
import dev.kvfreeze.engine.KeyCalibration;
import dev.kvfreeze.engine.KeyCalibrator;
import dev.kvfreeze.engine.Transformer;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import java.util.List;
import java.util.function.IntBinaryOperator;

/**
 * Feeds a text token by token, whatever the model would have said, with a policy active, and
 * records what it predicts: how a policy's perplexity and its agreement with the full cache are
 * measured.
 */
final class TeacherForcing {
  private TeacherForcing() {}

  /**
   * @param argmax the most probable next token after each fed token
   * @param negativeLogLikelihood of the true next token, in nats
   * @param activeShare active tokens over all tokens after each fed token, mean over heads
   */
  record Trace(int[] argmax, double[] negativeLogLikelihood, double[] activeShare) {
    double perplexity() {
      double sum = 0;
      for (double value : negativeLogLikelihood) {
        sum += value;
      }
      return Math.exp(sum / negativeLogLikelihood.length);
    }

    double agreement(Trace other) {
      int same = 0;
      for (int i = 0; i < argmax.length; i++) {
        same += argmax[i] == other.argmax[i] ? 1 : 0;
      }
      return (double) same / argmax.length;
    }

    double meanActiveShare() {
      double sum = 0;
      for (double value : activeShare) {
        sum += value;
      }
      return sum / activeShare.length;
    }

    double lastActiveShare() {
      return activeShare[activeShare.length - 1];
    }
  }

  /** Replaces a text behind its prompt by what the full cache says greedily. */
  static int[] generate(LanguageModel model, Device device, int[] text, int promptTokens) {
    int[] tokens = text.clone();
    FreezePolicy full = FreezePolicies.create("full", PolicyOptions.defaults());
    run(
        model,
        device,
        full,
        KvFormat.BF16,
        16,
        tokens,
        promptTokens,
        (step, best) -> tokens[promptTokens + step] = best);
    return tokens;
  }

  /** A transformer and a cache for one policy; the weights are loaded once for all policies. */
  static Trace run(
      LanguageModel model,
      Device device,
      FreezePolicy policy,
      KvFormat format,
      int pageTokens,
      int[] tokens,
      int promptTokens) {
    IntBinaryOperator forced = (step, best) -> tokens[promptTokens + step];
    return run(model, device, policy, format, pageTokens, tokens, promptTokens, forced);
  }

  /** {@code next} takes the step and the most probable token and says which is fed. */
  private static Trace run(
      LanguageModel model,
      Device device,
      FreezePolicy policy,
      KvFormat format,
      int pageTokens,
      int[] tokens,
      int promptTokens,
      IntBinaryOperator next) {
    ModelSpec spec = model.spec();
    PageLayout layout = new PageLayout(spec.headSize(), pageTokens, format);
    ColdStore cold = new HostColdStore(layout.wordsPerPage(), 4L << 30);
    Transformer weights = new Transformer(model, device, null, promptTokens, 1);
    KeyCalibration calibration = KeyCalibrator.calibrate(model, device, weights, policy, format);
    try (KvCache cache =
        new KvCache(
            device.pageMemory(layout, 2L << 30),
            cold,
            policy,
            spec.ropes(),
            spec.kvHeads(),
            calibration.sketches())) {
      Transformer transformer = weights.withMemory(cache.memory(), calibration.smoothing());
      try (SequenceCache sequence = cache.open("teacher-forcing")) {
        return feed(transformer, sequence, tokens, promptTokens, next);
      }
    }
  }

  private static Trace feed(
      Transformer transformer,
      SequenceCache sequence,
      int[] tokens,
      int promptTokens,
      IntBinaryOperator next) {
    int steps = tokens.length - promptTokens;
    Trace trace = new Trace(new int[steps], new double[steps], new double[steps]);
    float[] logits = new float[transformer.spec().vocabulary()];
    step(transformer, sequence, StepKind.PREFILL, tokens, 0, promptTokens);
    for (int i = 0; i < steps; i++) {
      LogitStatistics statistics = transformer.statistics(0);
      transformer.readLogits(0, logits);
      int token = next.applyAsInt(i, statistics.argmax());
      CacheUsage usage = sequence.usage();
      trace.argmax()[i] = statistics.argmax();
      trace.negativeLogLikelihood()[i] = statistics.logSumExp() - logits[token];
      trace.activeShare()[i] = usage.activeTokens() / sequence.length();
      if (i + 1 < steps) {
        step(transformer, sequence, StepKind.DECODE, tokens, promptTokens + i, 1);
      }
    }
    return trace;
  }

  private static void step(
      Transformer transformer,
      SequenceCache sequence,
      StepKind kind,
      int[] tokens,
      int offset,
      int count) {
    sequence.extend(count);
    sequence.beginStep(kind);
    int rows = transformer.forward(List.of(new ForwardSlice(sequence, tokens, offset, count)));
    transformer.awaitMass();
    sequence.endStep(kind);
    transformer.logitsOfRow(rows - 1);
  }
}
