package dev.kvfreeze.engine;

import dev.kvfreeze.cache.ColdStore;
import dev.kvfreeze.cache.DeviceColdStore;
import dev.kvfreeze.cache.HostColdStore;
import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import java.util.Arrays;
import java.util.List;

/** A transformer with a cache of its own, for tests that look at logits. */
final class ForwardHarness implements AutoCloseable {
  private static final int CHUNK = 256;

  /** Rows whose logits are computed together. */
  private static final int LOGIT_ROWS = 64;

  private final Device device;
  private final KvCache cache;
  private final Transformer transformer;

  ForwardHarness(LanguageModel model, KvFormat format, int pageTokens) {
    this(
        model,
        format,
        pageTokens,
        FreezePolicies.create("full", PolicyOptions.defaults().withPageTokens(pageTokens)));
  }

  ForwardHarness(LanguageModel model, KvFormat format, int pageTokens, FreezePolicy policy) {
    this(model, CpuDevice.open(2), format, pageTokens, policy);
  }

  /** On a device, which it closes. */
  ForwardHarness(
      LanguageModel model, Device device, KvFormat format, int pageTokens, FreezePolicy policy) {
    this(model, device, format, format, pageTokens, policy);
  }

  /** Whose keys are smoothed as for pages of another format. */
  ForwardHarness(
      LanguageModel model,
      Device device,
      KvFormat format,
      KvFormat smoothedAs,
      int pageTokens,
      FreezePolicy policy) {
    ModelSpec spec = model.spec();
    PageLayout layout = new PageLayout(spec.headSize(), pageTokens, format);
    this.device = device;
    Transformer working = new Transformer(model, device, null, CHUNK, LOGIT_ROWS);
    PageMemory memory = device.pageMemory(layout, 1L << 30);
    ColdStore cold =
        memory
            .hostPages(1L << 30)
            .<ColdStore>map(places -> new DeviceColdStore(places, layout.pageBytes()))
            .orElseGet(() -> new HostColdStore(layout.wordsPerPage(), 1L << 30));
    cache = new KvCache(memory, cold, policy, spec.ropes(), spec.kvHeads());
    // Without sketches, which have no use for it here.
    FreezePolicy full = FreezePolicies.create("full", PolicyOptions.defaults());
    KeyCalibration calibration = KeyCalibrator.calibrate(model, device, working, full, smoothedAs);
    transformer = working.withMemory(memory, calibration.smoothing());
  }

  SequenceCache open() {
    return cache.open("test");
  }

  Transformer transformer() {
    return transformer;
  }

  /** Reads tokens in chunks; afterwards row 0 of the logits belongs to the last of them. */
  void read(SequenceCache sequence, int[] tokens, StepKind kind) {
    int rows = 0;
    for (int at = 0; at < tokens.length; at += CHUNK) {
      int count = Math.min(CHUNK, tokens.length - at);
      sequence.extend(count);
      sequence.beginStep(kind);
      rows = transformer.forward(List.of(new ForwardSlice(sequence, tokens, at, count)));
      transformer.awaitMass();
      sequence.endStep(kind);
    }
    transformer.logitsOfRow(rows - 1);
  }

  /** Logits at the last position. */
  float[] lastLogits(int[] tokens) {
    try (SequenceCache sequence = open()) {
      read(sequence, tokens, StepKind.PREFILL);
      return logits();
    }
  }

  /** Row 0 of the logits. */
  float[] logits() {
    float[] logits = new float[transformer.spec().vocabulary()];
    transformer.readLogits(0, logits);
    return logits;
  }

  /** Perplexity of a text after its first token, read in chunks. */
  double perplexity(int[] tokens) {
    return perplexityOf(losses(tokens));
  }

  /** The same in decode steps, a token at a time. */
  double decodePerplexity(int[] tokens) {
    return perplexityOf(decodeLosses(tokens));
  }

  private static double perplexityOf(double[] losses) {
    return Math.exp(Arrays.stream(losses).average().orElseThrow());
  }

  /** Negative log-likelihood of each token of a text but the first, in nats, read in chunks. */
  double[] losses(int[] tokens) {
    double[] losses = new double[tokens.length - 1];
    float[] logits = new float[transformer.spec().vocabulary()];
    try (SequenceCache sequence = open()) {
      for (int at = 0; at < losses.length; at += LOGIT_ROWS) {
        int count = Math.min(LOGIT_ROWS, losses.length - at);
        sequence.extend(count);
        sequence.beginStep(StepKind.PREFILL);
        transformer.forward(List.of(new ForwardSlice(sequence, tokens, at, count)));
        sequence.endStep(StepKind.PREFILL);
        transformer.logitsOfRows(count);
        for (int row = 0; row < count; row++) {
          losses[at + row] = loss(row, tokens[at + row + 1], logits);
        }
      }
    }
    return losses;
  }

  /** The same in decode steps, a token at a time. */
  double[] decodeLosses(int[] tokens) {
    double[] losses = new double[tokens.length - 1];
    float[] logits = new float[transformer.spec().vocabulary()];
    try (SequenceCache sequence = open()) {
      for (int at = 0; at < losses.length; at++) {
        sequence.extend(1);
        sequence.beginStep(StepKind.DECODE);
        transformer.forward(List.of(new ForwardSlice(sequence, tokens, at, 1)));
        sequence.endStep(StepKind.DECODE);
        transformer.logitsOfRows(1);
        losses[at] = loss(0, tokens[at + 1], logits);
      }
    }
    return losses;
  }

  private double loss(int row, int token, float[] logits) {
    LogitStatistics statistics = transformer.statistics(row);
    transformer.readLogits(row, logits);
    return statistics.logSumExp() - logits[token];
  }

  @Override
  public void close() {
    cache.close();
    device.close();
  }
}
