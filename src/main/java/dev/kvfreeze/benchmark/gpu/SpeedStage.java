package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.cache.HostColdStore;
import dev.kvfreeze.cache.KvCache;
import dev.kvfreeze.cache.PoolExhaustedException;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.cuda.CudaDevice;
import dev.kvfreeze.engine.ForwardSlice;
import dev.kvfreeze.engine.Transformer;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.StepKind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Decode steps as a share of the measured copy bandwidth (weights and KV bytes read, over the time
 * of a step), and prefill in TFLOP/s. Pages of long contexts are taken, not computed: what they
 * hold does not change the time.
 */
final class SpeedStage implements Stage {
  private static final int PAGE_TOKENS = 16;
  private static final int STEPS = 12;
  private static final double SPARE_SECONDS = 20;

  private final RandomModel model;
  private final int[] contexts;
  private final int[] batches;
  private final int[] prompts;
  private final int chunk;

  SpeedStage(RandomModel model, int[] contexts, int[] batches, int[] prompts, int chunk) {
    this.model = model;
    this.contexts = contexts;
    this.batches = batches;
    this.prompts = prompts;
    this.chunk = chunk;
  }

  @Override
  public String name() {
    return "speed of " + model.name();
  }

  @Override
  public List<String> run(CheckSetup setup) {
    List<String> lines = new ArrayList<>();
    try (CudaDevice device = setup.devices().get()) {
      double bandwidth = device.copyBandwidth(Math.min(1L << 30, device.freeBytes() / 8));
      lines.add(
          "copies within device memory: %.0f GB/s read and written".formatted(bandwidth / 1e9));
      int mostBatch = Arrays.stream(batches).max().orElse(1);
      Transformer weights = new Transformer(model, device, null, chunk, mostBatch);
      PageLayout layout = new PageLayout(model.spec().headSize(), PAGE_TOKENS, KvFormat.BF16);
      PageMemory memory = device.pageMemory(layout, device.usualPoolBytes());
      PolicyOptions options = PolicyOptions.defaults().withPageTokens(PAGE_TOKENS);
      try (KvCache cache =
          new KvCache(
              memory,
              new HostColdStore(layout.wordsPerPage(), 1 << 20),
              FreezePolicies.create("full", options),
              model.spec().layers().size(),
              model.spec().kvHeads())) {
        Transformer transformer = weights.withMemory(memory);
        for (int prompt : prompts) {
          if (setup.secondsLeft() > SPARE_SECONDS) {
            lines.add(prefill(transformer, cache, prompt));
          }
        }
        for (int context : contexts) {
          for (int batch : batches) {
            if (setup.secondsLeft() > SPARE_SECONDS) {
              lines.add(decode(transformer, cache, context, batch, bandwidth));
            }
          }
        }
      }
    }
    return lines;
  }

  private String prefill(Transformer transformer, KvCache cache, int prompt) {
    int[] tokens = new int[prompt];
    Arrays.setAll(tokens, i -> i % model.spec().vocabulary());
    double best = Double.MAX_VALUE;
    try {
      for (int round = 0; round < 2; round++) {
        try (SequenceCache sequence = cache.open("prefill")) {
          long start = System.nanoTime();
          for (int at = 0; at < prompt; at += chunk) {
            int count = Math.min(chunk, prompt - at);
            sequence.extend(count, StepKind.PREFILL);
            sequence.beginStep(StepKind.PREFILL);
            transformer.forward(List.of(new ForwardSlice(sequence, tokens, at, count)));
          }
          transformer.logitsOfRow(0);
          transformer.statistics(0);
          best = Math.min(best, (System.nanoTime() - start) / 1e9);
        }
      }
    } catch (PoolExhaustedException e) {
      return "prefill of %,d tokens: does not fit".formatted(prompt);
    }
    double attention =
        2.0
            * prompt
            * prompt
            * model.spec().heads()
            * model.spec().headSize()
            * model.spec().layers().size();
    double operations = 2.0 * prompt * model.parameters() + attention;
    return "prefill of %,d tokens: %.1f ms, %.1f TFLOP/s"
        .formatted(prompt, 1e3 * best, operations / best / 1e12);
  }

  private String decode(
      Transformer transformer, KvCache cache, int context, int batch, double bandwidth) {
    String what = "decode at %,d tokens, batch %d: ".formatted(context, batch);
    List<SequenceCache> sequences = new ArrayList<>();
    try {
      for (int i = 0; i < batch; i++) {
        SequenceCache sequence = cache.open("decode-" + i);
        sequences.add(sequence);
        sequence.extend(context);
      }
      double[] times = new double[STEPS];
      for (int step = 0; step < STEPS; step++) {
        long start = System.nanoTime();
        List<ForwardSlice> slices = new ArrayList<>();
        for (SequenceCache sequence : sequences) {
          sequence.extend(1);
          sequence.beginStep(StepKind.DECODE);
          slices.add(new ForwardSlice(sequence, new int[] {7}, 0, 1));
        }
        transformer.logitsOfRows(transformer.forward(slices, StepKind.DECODE));
        transformer.statistics(0);
        times[step] = (System.nanoTime() - start) / 1e9;
      }
      Arrays.sort(times);
      double median = times[STEPS / 2];
      double bytes =
          transformer.weightBytes()
              + 4.0
                  * batch
                  * context
                  * model.spec().layers().size()
                  * model.spec().kvHeads()
                  * model.spec().headSize();
      return what
          + "%.3f ms, %.1f tokens/s, %.0f %% of the copy bandwidth"
              .formatted(1e3 * median, batch / median, 100 * bytes / median / bandwidth);
    } catch (PoolExhaustedException e) {
      return what + "does not fit";
    } finally {
      sequences.forEach(SequenceCache::close);
    }
  }
}
