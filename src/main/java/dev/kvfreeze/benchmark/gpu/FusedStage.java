package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.BlockInput;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.ProfiledDevice;
import dev.kvfreeze.device.QkvFinish;
import dev.kvfreeze.device.QkvRows;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** A layer's decode step in fused launches against the same one operation at a time, to the bit. */
final class FusedStage implements Stage {
  private static final int HIDDEN = 96;
  private static final int FEED_FORWARD = 160;
  private static final int KV_HEADS = 2;
  private static final int GROUP = 3;
  private static final int PAGE_TOKENS = 8;

  /** Tokens that were there before the step. */
  private static final int PAST = 21;

  private enum Features {
    NONE,
    BIAS,
    NORMS
  }

  private record Layer(
      int rows,
      int headSize,
      Features features,
      TensorType type,
      Rope.Pairing pairing,
      int pairs) {}

  private static final List<Layer> LAYERS =
      List.of(
          new Layer(1, 64, Features.NONE, TensorType.Q8_0, Rope.Pairing.INTERLEAVED, 32),
          new Layer(9, 64, Features.NORMS, TensorType.Q8_0, Rope.Pairing.HALF_SPLIT, 32),
          new Layer(3, 80, Features.BIAS, TensorType.Q4_0, Rope.Pairing.HALF_SPLIT, 20),
          new Layer(2, 128, Features.NORMS, TensorType.Q4_1, Rope.Pairing.INTERLEAVED, 64),
          new Layer(2, 96, Features.BIAS, TensorType.F32, Rope.Pairing.HALF_SPLIT, 48));

  @Override
  public String name() {
    return "fused decode launches against plain ones";
  }

  @Override
  public List<String> run(CheckSetup setup) {
    List<String> lines = new ArrayList<>();
    for (Layer layer : LAYERS) {
      List<float[]> fused;
      List<float[]> plain;
      try (Device device = setup.devices().get()) {
        fused = step(device, layer);
      }
      // Knows single operations only.
      try (Device device = new ProfiledDevice(setup.devices().get(), 1)) {
        plain = step(device, layer);
      }
      for (int i = 0; i < plain.size(); i++) {
        Stage.require(
            Arrays.equals(fused.get(i), plain.get(i)),
            layer + ": fused launches give other bits (result " + i + ")");
        for (float value : plain.get(i)) {
          Stage.require(Float.isFinite(value), layer + ": a result is not finite");
        }
      }
      lines.add(layer + ": the same bits");
    }
    return lines;
  }

  private static Rope rope(int pairs, Rope.Pairing pairing) {
    float[] frequencies = new float[pairs];
    for (int i = 0; i < pairs; i++) {
      frequencies[i] = (float) Math.pow(10_000, -1.0 * i / pairs);
    }
    return new Rope(frequencies, pairing);
  }

  /** Two blocks; returns the queries, the attention's output, the residual and the last sums. */
  private static List<float[]> step(Device device, Layer layer) {
    int rows = layer.rows();
    int headSize = layer.headSize();
    TensorType type = layer.type();
    RandomTensors random = new RandomTensors(headSize + rows);
    int queryWidth = KV_HEADS * GROUP * headSize;
    int kvWidth = KV_HEADS * headSize;
    AttentionShape shape =
        new AttentionShape(
            KV_HEADS * GROUP, KV_HEADS, headSize, 1 / (float) Math.sqrt(headSize), 0);
    boolean bias = layer.features() == Features.BIAS;
    boolean norms = layer.features() == Features.NORMS;
    // One row would be a vector.
    Weight table = device.weight(random.matrix(TensorType.F32, rows + 1, HIDDEN));
    Weight[] qkv = {
      device.weight(random.matrix(type, queryWidth, HIDDEN)),
      device.weight(random.matrix(type, kvWidth, HIDDEN)),
      device.weight(random.matrix(type, kvWidth, HIDDEN))
    };
    QkvFinish finish =
        new QkvFinish(
            bias ? vector(device, random, queryWidth) : null,
            bias ? vector(device, random, kvWidth) : null,
            bias ? vector(device, random, kvWidth) : null,
            norms ? vector(device, random, headSize) : null,
            norms ? vector(device, random, headSize) : null,
            1e-5f,
            null,
            null,
            rope(layer.pairs(), layer.pairing()));
    Weight postNorm = norms ? vector(device, random, HIDDEN) : null;
    Weight output = device.weight(random.matrix(TensorType.F32, HIDDEN, queryWidth));
    Weight[] gateUp = {
      device.weight(random.matrix(type, FEED_FORWARD, HIDDEN)),
      device.weight(random.matrix(type, FEED_FORWARD, HIDDEN))
    };
    Weight[] down = {device.weight(random.matrix(type, HIDDEN, FEED_FORWARD))};
    Weight norm = vector(device, random, HIDDEN);
    Activations residual = device.activations(rows, HIDDEN);
    Activations normed = device.activations(rows, HIDDEN);
    Activations block = device.activations(rows, HIDDEN);
    Activations query = device.activations(rows, queryWidth);
    Activations key = device.activations(rows, kvWidth);
    Activations value = device.activations(rows, kvWidth);
    Activations attention = device.activations(rows, queryWidth);
    Activations gate = device.activations(rows, FEED_FORWARD);
    Activations up = device.activations(rows, FEED_FORWARD);
    int[] tokens = new int[rows];
    int[] positions = new int[rows];
    for (int r = 0; r < rows; r++) {
      tokens[r] = r;
      positions[r] = PAST + r;
    }
    List<float[]> results = new ArrayList<>();
    PageLayout layout = new PageLayout(headSize, PAGE_TOKENS, KvFormat.BF16);
    try (PageMemory memory = device.pageMemory(layout, 8L << 20)) {
      List<AttentionSegment> segments = segments(memory, rows);
      device.embed(table, tokens, 0, rows, 1, residual);
      BlockInput first = new BlockInput(residual, null, null, norm, 1e-5f, normed);
      device.decodeNormMatmul(first, rows, qkv, new Activations[] {query, key, value});
      QkvRows qkvRows = new QkvRows(query, key, value, rows, positions);
      device.finishQkv(qkvRows, finish, shape, memory, segments);
      device.attend(query, shape, memory, segments, attention);
      device.decodeMatmul(attention, rows, new Weight[] {output}, new Activations[] {block});
      BlockInput second = new BlockInput(residual, block, postNorm, norm, 1e-5f, normed);
      device.decodeNormMatmul(second, rows, gateUp, new Activations[] {gate, up});
      GateActivation activation = norms ? GateActivation.GELU_TANH : GateActivation.SILU;
      device.decodeGateMatmul(activation, gate, up, rows, down, new Activations[] {block});
      device.addNorm(new BlockInput(residual, block, postNorm, norm, 1e-5f, normed), rows);
      for (Activations result : List.of(query, attention, residual, normed)) {
        for (int r = 0; r < rows; r++) {
          float[] values = new float[result.columns()];
          device.read(result, r, values);
          results.add(values);
        }
      }
      for (AttentionSegment segment : segments) {
        for (HeadPages pages : segment.heads()) {
          memory.forget(pages);
        }
      }
    }
    return results;
  }

  /** A sequence a row, with pages of random keys and values before it. */
  private static List<AttentionSegment> segments(PageMemory memory, int rows) {
    Random random = new Random(rows);
    List<AttentionSegment> segments = new ArrayList<>();
    int slot = 0;
    int[] words = new int[memory.layout().wordsPerPage()];
    for (int r = 0; r < rows; r++) {
      HeadPages[] heads = new HeadPages[KV_HEADS];
      int pageCount = (PAST + r) / PAGE_TOKENS + 1;
      memory.ensure(slot + KV_HEADS * pageCount);
      for (int h = 0; h < KV_HEADS; h++) {
        heads[h] = new HeadPages();
        heads[h].ensure(pageCount);
        heads[h].count = pageCount;
        for (int page = 0; page < pageCount; page++) {
          for (int i = 0; i < words.length; i++) {
            words[i] = half(random) | half(random) << 16;
          }
          memory.write(slot, words, 0);
          heads[h].slots[page] = slot++;
          heads[h].firstPositions[page] = page * PAGE_TOKENS;
          heads[h].tokenCounts[page] = Math.min(PAGE_TOKENS, PAST + r + 1 - page * PAGE_TOKENS);
        }
      }
      segments.add(new AttentionSegment(r, 1, PAST + r, heads));
    }
    return segments;
  }

  private static int half(Random random) {
    return Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16;
  }

  private static Weight vector(Device device, RandomTensors random, int size) {
    return device.weight(random.matrix(TensorType.F32, 1, size));
  }
}
