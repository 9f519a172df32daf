package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.BlockInput;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.PartTimes;
import dev.kvfreeze.device.ProfiledDevice;
import dev.kvfreeze.device.QkvFinish;
import dev.kvfreeze.device.QkvRows;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A layer's decode step in fused launches against the same one operation at a time, to the bit. */
class FusedDecodeTest {
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

  @ParameterizedTest
  @CsvSource({
    "1, 64, NONE, Q8_0, INTERLEAVED, 32", "9, 64, NORMS, Q8_0, HALF_SPLIT, 32",
    "3, 80, BIAS, Q4_0, HALF_SPLIT, 20", "2, 128, NORMS, Q4_1, INTERLEAVED, 64",
    "2, 96, BIAS, F32, HALF_SPLIT, 48"
  })
  void resultsHaveTheBitsOfPlainLaunches(
      int rows, int headSize, Features features, TensorType type, Rope.Pairing pairing, int pairs) {
    List<float[]> fused;
    List<float[]> plain;
    try (Device device = HostDriver.device(256L << 20, HostCode.KERNELS)) {
      fused = step(device, rows, headSize, features, type, rope(pairs, pairing));
    }
    // Knows single operations only.
    try (Device device =
        new ProfiledDevice(HostDriver.device(256L << 20, HostCode.KERNELS), new PartTimes())) {
      plain = step(device, rows, headSize, features, type, rope(pairs, pairing));
    }
    assertThat(fused).hasSameSizeAs(plain);
    for (int i = 0; i < fused.size(); i++) {
      assertThat(fused.get(i)).as("result %d", i).isEqualTo(plain.get(i));
      assertThat(fused.get(i)).as("result %d", i).doesNotContain(Float.NaN);
    }
  }

  private static Rope rope(int pairs, Rope.Pairing pairing) {
    float[] frequencies = new float[pairs];
    for (int i = 0; i < pairs; i++) {
      frequencies[i] = (float) Math.pow(10_000, -1.0 * i / pairs);
    }
    return new Rope(frequencies, pairing);
  }

  /** Two blocks; returns the queries, the attention's output, the residual and the last sums. */
  private static List<float[]> step(
      Device device, int rows, int headSize, Features features, TensorType type, Rope rope) {
    Random random = new Random(headSize + rows);
    int queryWidth = KV_HEADS * GROUP * headSize;
    int kvWidth = KV_HEADS * headSize;
    AttentionShape shape =
        new AttentionShape(
            KV_HEADS * GROUP, KV_HEADS, headSize, 1 / (float) Math.sqrt(headSize), 0);
    boolean bias = features == Features.BIAS;
    boolean norms = features == Features.NORMS;
    // One row would be a vector.
    Weight table = device.weight(random(random, TensorType.F32, rows + 1, HIDDEN));
    Weight[] qkv = {
      device.weight(random(random, type, queryWidth, HIDDEN)),
      device.weight(random(random, type, kvWidth, HIDDEN)),
      device.weight(random(random, type, kvWidth, HIDDEN))
    };
    QkvFinish finish =
        new QkvFinish(
            bias ? vector(device, random, queryWidth) : null,
            bias ? vector(device, random, kvWidth) : null,
            bias ? vector(device, random, kvWidth) : null,
            norms ? vector(device, random, headSize) : null,
            norms ? vector(device, random, headSize) : null,
            1e-5f,
            rope);
    Weight postNorm = norms ? vector(device, random, HIDDEN) : null;
    Weight output = device.weight(random(random, TensorType.F32, HIDDEN, queryWidth));
    Weight[] gateUp = {
      device.weight(random(random, type, FEED_FORWARD, HIDDEN)),
      device.weight(random(random, type, FEED_FORWARD, HIDDEN))
    };
    Weight[] down = {device.weight(random(random, type, HIDDEN, FEED_FORWARD))};
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
      List<AttentionSegment> segments = segments(memory, rows, random);
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
  private static List<AttentionSegment> segments(PageMemory memory, int rows, Random random) {
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

  private static Weight vector(Device device, Random random, int size) {
    return device.weight(random(random, TensorType.F32, 1, size));
  }

  /** Blocks of quantised types with a scale of about 2^-8. */
  private static TensorData random(Random random, TensorType type, int rows, int columns) {
    byte[] bytes = new byte[Math.toIntExact(type.bytes((long) rows * columns))];
    random.nextBytes(bytes);
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    for (int at = 0; at < bytes.length; at += type.blockBytes()) {
      if (type == TensorType.F32) {
        buffer.putFloat(at, (float) random.nextGaussian());
      } else {
        buffer.putShort(at, (short) (7 << 10 | random.nextInt(1 << 10)));
        if (type == TensorType.Q4_1) {
          buffer.putShort(at + 2, (short) (1 << 15 | 7 << 10 | random.nextInt(1 << 10)));
        }
      }
    }
    return new TensorData("random", type, rows, columns, buffer);
  }
}
