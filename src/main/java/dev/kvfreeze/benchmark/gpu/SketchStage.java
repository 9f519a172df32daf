package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** What sketches promise for pages, on the GPU and on the CPU, over awkward sizes. */
final class SketchStage implements Stage {
  private static final int KV_HEADS = 2;
  private static final int TOKENS = 16 * 21;

  /** Codes beside a threshold may differ, and the CPU takes slow waves for parabolas. */
  private static final double CLOSE = 0.02;

  /** What codes are of. */
  private enum Coding {
    TURNED_KEYS,
    CHANNELS
  }

  /**
   * @param bits a dimension
   */
  private record Sizes(
      Coding coding, int headSize, int pageTokens, int bits, int group, int window, int pairs) {
    KeySketches in(PageMemory memory, Rope rope, int head) {
      return switch (coding) {
        case TURNED_KEYS -> memory.newSketches(bits, rope);
        case CHANNELS -> memory.newSketches(channels(headSize, bits, head), rope);
      };
    }
  }

  private static final List<Sizes> SIZES =
      List.of(
          new Sizes(Coding.CHANNELS, 64, 16, 1, 3, 0, 32),
          new Sizes(Coding.CHANNELS, 80, 8, 1, 7, 100, 40),
          new Sizes(Coding.CHANNELS, 128, 16, 2, 4, 0, 64),
          new Sizes(Coding.CHANNELS, 256, 16, 1, 4, 0, 128),
          new Sizes(Coding.TURNED_KEYS, 64, 16, 1, 3, 0, 32),
          new Sizes(Coding.TURNED_KEYS, 64, 8, 2, 1, 100, 16),
          new Sizes(Coding.TURNED_KEYS, 80, 8, 1, 7, 0, 40),
          new Sizes(Coding.TURNED_KEYS, 96, 16, 2, 7, 0, 24),
          new Sizes(Coding.TURNED_KEYS, 128, 1, 2, 3, 40, 64),
          new Sizes(Coding.TURNED_KEYS, 128, 16, 2, 4, 0, 64),
          new Sizes(Coding.TURNED_KEYS, 256, 16, 1, 4, 0, 128));

  @Override
  public String name() {
    return "sketches against the CPU's";
  }

  @Override
  public List<String> run(CheckSetup setup) {
    List<String> lines = new ArrayList<>();
    for (Sizes sizes : SIZES) {
      // A device knows the few RoPEs of one model.
      try (Device gpu = setup.devices().get();
          Device cpu = CpuDevice.open(2)) {
        double error = Errors.relative(masses(gpu, sizes), masses(cpu, sizes));
        lines.add("%s: relative error of the masses %.1e".formatted(sizes, error));
        Stage.require(error < CLOSE, "sketches differ: " + lines.get(lines.size() - 1));
      }
    }
    return lines;
  }

  private static SketchChannels channels(int headSize, int bits, long seed) {
    Random random = new Random(seed);
    float[] variances = new float[headSize];
    float[] energies = new float[headSize];
    for (int d = 0; d < headSize; d++) {
      variances[d] = (float) Math.exp(random.nextGaussian());
      energies[d] = (float) Math.exp(1.5 * random.nextGaussian());
    }
    return SketchChannels.of(variances, energies, SketchChannels.codes(headSize, bits));
  }

  /** Estimated shares of a query row, by KV head and page. */
  private static float[][] masses(Device device, Sizes sizes) {
    int headSize = sizes.headSize();
    int heads = KV_HEADS * sizes.group();
    float scale = (float) (1 / Math.sqrt(headSize));
    AttentionShape shape = new AttentionShape(heads, KV_HEADS, headSize, scale, sizes.window());
    float[] frequencies = new float[sizes.pairs()];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) Math.pow(100_000, -(double) i / frequencies.length);
    }
    Rope rope = new Rope(frequencies, Rope.Pairing.HALF_SPLIT);
    RandomTensors random = new RandomTensors(headSize);
    Activations keys = device.activations(TOKENS, KV_HEADS * headSize);
    Activations query = device.activations(TOKENS, heads * headSize);
    int[] positions = new int[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
      positions[i] = i;
    }
    device.embed(
        device.weight(random.matrix(TensorType.BF16, TOKENS, KV_HEADS * headSize)),
        positions,
        0,
        TOKENS,
        1,
        keys);
    // What all keys have in common, before they are turned.
    device.addBias(
        keys, TOKENS, device.weight(random.matrix(TensorType.F32, 1, KV_HEADS * headSize)));
    device.rope(keys, TOKENS, headSize, rope, positions);
    device.embed(
        device.weight(random.matrix(TensorType.BF16, 2, heads * headSize)),
        new int[] {1},
        0,
        1,
        1,
        query);
    PageLayout layout = new PageLayout(headSize, sizes.pageTokens(), KvFormat.BF16);
    int pages = TOKENS / sizes.pageTokens();
    long poolBytes = 2L * KV_HEADS * pages * layout.pageBytes() + (4L << 20);
    try (PageMemory memory = device.pageMemory(layout, poolBytes)) {
      memory.ensure(KV_HEADS * pages);
      HeadPages[] lists = new HeadPages[KV_HEADS];
      KeySketches[] sketches = new KeySketches[KV_HEADS];
      List<SketchedPage> jobs = new ArrayList<>();
      for (int head = 0; head < KV_HEADS; head++) {
        sketches[head] = sizes.in(memory, rope, head);
        sketches[head].ensure(pages);
        lists[head] = list(head, pages, sizes.pageTokens());
        for (int page = 0; page < pages; page++) {
          jobs.add(new SketchedPage(sketches[head], page, lists[head].slots[page]));
        }
      }
      device.writeKv(keys, keys, shape, memory, List.of(new AttentionSegment(0, TOKENS, 0, lists)));
      device.sketchKeys(memory, jobs);
      device.scoreSketches(query, shape, List.of(new SketchSegment(0, TOKENS, sketches)));
      float[][] masses = new float[KV_HEADS][];
      for (int head = 0; head < KV_HEADS; head++) {
        masses[head] = Arrays.copyOf(sketches[head].mass, pages);
        sketches[head].release();
        memory.forget(lists[head]);
      }
      return masses;
    }
  }

  private static HeadPages list(int head, int pages, int pageTokens) {
    HeadPages list = new HeadPages();
    list.ensure(pages);
    for (int page = 0; page < pages; page++) {
      list.slots[page] = (pages - 1 - page) * KV_HEADS + head;
      list.firstPositions[page] = page * pageTokens;
      list.tokenCounts[page] = pageTokens;
    }
    list.count = pages;
    return list;
  }
}
