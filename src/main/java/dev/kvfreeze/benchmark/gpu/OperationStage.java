package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/** Every operation on random input, on the GPU and on the CPU, over awkward sizes. */
final class OperationStage implements Stage {
  /** Relative error (root mean square) that bfloat16 operands cost. */
  private static final double ROUNDING = 0.012;

  private static final double EXACT = 1e-5;

  @Override
  public String name() {
    return "operations against the CPU's";
  }

  @Override
  public List<String> run(CheckSetup setup) {
    List<String> lines = new ArrayList<>();
    try (Device gpu = setup.devices().get();
        Device cpu = CpuDevice.open(2)) {
      elementwise(gpu, cpu, lines);
      for (TensorType type : TensorType.values()) {
        products(gpu, cpu, type, lines);
      }
      for (int headSize : new int[] {64, 80, 96, 128, 256}) {
        for (int pageTokens : new int[] {1, 8, 16}) {
          attention(gpu, cpu, headSize, pageTokens, lines);
        }
      }
    }
    return lines;
  }

  private static void elementwise(Device gpu, Device cpu, List<String> lines) {
    int rows = 7;
    int columns = 4 * 96;
    RandomTensors random = new RandomTensors(1);
    TensorData table = random.matrix(TensorType.F32, 97, columns);
    TensorData gain = random.matrix(TensorType.F32, 1, columns);
    int[] tokens = {3, 96, 0, 51, 3, 12, 77};
    int[] positions = {0, 1, 5, 1000, 131_071, 17, 4};
    float[] frequencies = new float[48];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) Math.pow(10_000, -i / 48.0);
    }
    List<float[][]> results = new ArrayList<>();
    List<LogitStatistics> statistics = new ArrayList<>();
    for (Device device : List.of(gpu, cpu)) {
      Activations x = device.activations(rows, columns);
      Activations y = device.activations(rows, columns);
      device.embed(device.weight(table), tokens, 0, rows, 1.5f, x);
      device.rmsNorm(x, rows, device.weight(gain), 1e-5f, y);
      device.rope(y, rows, 96, new Rope(frequencies, Rope.Pairing.HALF_SPLIT), positions);
      device.rope(y, rows, 96, new Rope(frequencies, Rope.Pairing.INTERLEAVED), positions);
      device.gate(GateActivation.GELU_TANH, x, y, rows);
      device.add(x, y, rows);
      device.gate(GateActivation.SILU, y, x, rows);
      results.add(rows(device, y, rows, columns));
      statistics.add(device.logitStatistics(y, rows - 1));
    }
    double error = Errors.relative(results.get(0), results.get(1));
    Stage.require(error < EXACT, "elementwise operations differ by " + error);
    LogitStatistics a = statistics.get(0);
    LogitStatistics b = statistics.get(1);
    Stage.require(
        a.argmax() == b.argmax() && Math.abs(a.entropy() - b.entropy()) < 1e-3,
        "statistics of logits differ: " + a + " and " + b);
    lines.add("elementwise: relative error %.1e".formatted(error));
  }

  private static void products(Device gpu, Device cpu, TensorType type, List<String> lines) {
    RandomTensors random = new RandomTensors(type.ordinal());
    int columns = 512;
    TensorData first = random.matrix(type, 97, columns);
    TensorData second = random.matrix(type, 160, columns);
    TensorData table = random.matrix(TensorType.F32, 64, columns);
    double worstDecode = 0;
    double worstPrefill = 0;
    for (int rows : new int[] {1, 2, 7, 8, 9, 17, 33, 64, 65}) {
      List<float[][]> decode = new ArrayList<>();
      List<float[][]> prefill = new ArrayList<>();
      for (Device device : List.of(gpu, cpu)) {
        Activations x = device.activations(rows, columns);
        int[] tokens = new int[rows];
        for (int i = 0; i < rows; i++) {
          tokens[i] = i % 64;
        }
        device.embed(device.weight(table), tokens, 0, rows, 1, x);
        Weight[] weights = {device.weight(first), device.weight(second)};
        Activations[] outs = {device.activations(rows, 97), device.activations(rows, 160)};
        device.decodeMatmul(x, rows, weights, outs);
        decode.add(rows(device, outs[1], rows, 160));
        device.matmul(x, rows, weights, outs);
        prefill.add(rows(device, outs[0], rows, 97));
      }
      worstDecode = Math.max(worstDecode, Errors.relative(decode.get(0), decode.get(1)));
      worstPrefill = Math.max(worstPrefill, Errors.relative(prefill.get(0), prefill.get(1)));
    }
    lines.add(
        "products with %s: relative error %.1e at decode, %.1e at prefill"
            .formatted(type, worstDecode, worstPrefill));
    Stage.require(worstDecode < ROUNDING, "decode products differ: " + lines.get(lines.size() - 1));
    Stage.require(
        worstPrefill < ROUNDING, "prefill products differ: " + lines.get(lines.size() - 1));
  }

  private static void attention(
      Device gpu, Device cpu, int headSize, int pageTokens, List<String> lines) {
    AttentionShape shape = new AttentionShape(6, 2, headSize, (float) (1 / Math.sqrt(headSize)), 0);
    double worst = 0;
    double worstMass = 0;
    // A prompt, then a decode step of it.
    for (int tokens : new int[] {1, 7, 54, 97}) {
      List<float[][]> results = new ArrayList<>();
      List<float[][]> masses = new ArrayList<>();
      for (Device device : List.of(gpu, cpu)) {
        attend(device, shape, pageTokens, tokens, results, masses);
      }
      worst = Math.max(worst, Errors.relative(results.get(0), results.get(2)));
      worst = Math.max(worst, Errors.relative(results.get(1), results.get(3)));
      worstMass = Math.max(worstMass, Errors.relative(masses.get(0), masses.get(2)));
      worstMass = Math.max(worstMass, Errors.relative(masses.get(1), masses.get(3)));
    }
    lines.add(
        "attention, heads of %d, pages of %d: relative error %.1e, of the masses %.1e"
            .formatted(headSize, pageTokens, worst, worstMass));
    Stage.require(
        worst < ROUNDING && worstMass < ROUNDING,
        "attention differs: " + lines.get(lines.size() - 1));
  }

  private static void attend(
      Device device,
      AttentionShape shape,
      int pageTokens,
      int tokens,
      List<float[][]> results,
      List<float[][]> masses) {
    int queryWidth = shape.heads() * shape.headSize();
    int kvWidth = shape.kvHeads() * shape.headSize();
    RandomTensors random = new RandomTensors(tokens);
    Activations queries = device.activations(tokens, queryWidth);
    Activations keys = device.activations(tokens, kvWidth);
    Activations values = device.activations(tokens, kvWidth);
    Activations out = device.activations(tokens, queryWidth);
    Weight queryTable = device.weight(random.matrix(TensorType.F32, 128, queryWidth));
    Weight keyTable = device.weight(random.matrix(TensorType.F32, 128, kvWidth));
    Weight valueTable = device.weight(random.matrix(TensorType.F32, 128, kvWidth));
    int[] ids = new int[tokens + 1];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = i;
    }
    PageLayout layout = new PageLayout(shape.headSize(), pageTokens, KvFormat.BF16);
    HeadPages[] heads = new HeadPages[shape.kvHeads()];
    try (PageMemory memory = device.pageMemory(layout, 4096L * layout.pageBytes())) {
      for (boolean decode : new boolean[] {false, true}) {
        int rows = decode ? 1 : tokens;
        int first = decode ? tokens : 0;
        int length = first + rows;
        for (int h = 0; h < heads.length; h++) {
          heads[h] = heads[h] == null ? new HeadPages() : heads[h];
          list(heads[h], h, length, pageTokens, heads.length);
        }
        memory.ensure(heads.length * ((length + pageTokens - 1) / pageTokens));
        device.embed(queryTable, ids, first, rows, 1, queries);
        device.embed(keyTable, ids, first, rows, 1, keys);
        device.embed(valueTable, ids, first, rows, 1, values);
        List<AttentionSegment> segments = List.of(new AttentionSegment(0, rows, first, heads));
        device.writeKv(keys, values, shape, memory, segments);
        device.attend(queries, shape, memory, segments, out);
        device.requestMass();
        device.awaitMass();
        results.add(rows(device, out, rows, queryWidth));
        masses.add(
            new float[][] {
              java.util.Arrays.copyOf(heads[0].mass, heads[0].count),
              java.util.Arrays.copyOf(heads[1].mass, heads[1].count)
            });
      }
      for (HeadPages pages : heads) {
        memory.forget(pages);
      }
    }
  }

  private static void list(HeadPages pages, int head, int length, int pageTokens, int heads) {
    int count = (length + pageTokens - 1) / pageTokens;
    pages.ensure(count);
    pages.wantMass = true;
    for (int i = 0; i < count; i++) {
      // Slots of the heads alternate, in descending order.
      pages.slots[i] = (count - 1 - i) * heads + head;
      pages.firstPositions[i] = i * pageTokens;
      pages.tokenCounts[i] = Math.min(pageTokens, length - i * pageTokens);
    }
    pages.count = count;
    pages.changed(0);
  }

  private static float[][] rows(Device device, Activations x, int rows, int columns) {
    float[][] values = new float[rows][columns];
    for (int r = 0; r < rows; r++) {
      device.read(x, r, values[r]);
    }
    return values;
  }
}
