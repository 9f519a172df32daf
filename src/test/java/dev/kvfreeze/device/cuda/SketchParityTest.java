package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KeyRotation;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.device.cpu.ChannelFixtures;
import dev.kvfreeze.device.cpu.CpuDevice;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The sketches of the CUDA device, and what it scores with them, against the CPU device's. */
class SketchParityTest {
  private static final int KV_HEADS = 2;

  /** Pages whose keys make the centre; the others come later, as in a growing sequence. */
  private static final int FIRST_PAGES = 3;

  @ParameterizedTest
  @CsvSource({
    "KERNELS, 64, 16, 1, 3, 23, 0, 32, INTERLEAVED",
        "KERNELS, 64, 8, 2, 1, 41, 100, 32, HALF_SPLIT",
    "KERNELS, 80, 8, 1, 7, 17, 0, 20, HALF_SPLIT", "KERNELS, 96, 16, 2, 7, 12, 0, 48, INTERLEAVED",
    "KERNELS, 128, 1, 2, 3, 97, 40, 64, HALF_SPLIT",
        "KERNELS, 128, 16, 1, 1, 140, 0, 64, HALF_SPLIT",
    "KERNELS, 64, 32, 1, 3, 9, 70, 0, HALF_SPLIT", "KERNELS, 256, 16, 1, 4, 9, 0, 128, HALF_SPLIT",
    "PLAIN, 64, 16, 1, 3, 300, 1000, 32, INTERLEAVED", "PLAIN, 96, 8, 2, 7, 33, 0, 16, HALF_SPLIT",
    "PLAIN, 128, 16, 2, 3, 300, 0, 64, HALF_SPLIT"
  })
  void sketchesAndMassesAreTheCpus(
      HostCode code,
      int headSize,
      int pageTokens,
      int planes,
      int group,
      int pages,
      int window,
      int pairs,
      Rope.Pairing pairing) {
    Rope rope = pairs == 0 ? null : rope(pairs, pairing);
    Coding coding = (memory, head) -> memory.newSketches(planes, rope);
    PageLayout layout = new PageLayout(headSize, pageTokens, KvFormat.BF16);
    float scale = 1 / (float) Math.sqrt(headSize);
    AttentionShape shape = new AttentionShape(KV_HEADS * group, KV_HEADS, headSize, scale, window);
    Keys keys = new Keys(layout, rope, pages);
    try (Side cpu = new Side(CpuDevice.open(1), shape, coding, keys);
        Side cuda = new Side(HostDriver.device(256L << 20, code), shape, coding, keys)) {
      assertMassesAlike(cpu, cuda, pages * pageTokens);
      // Reading the masses has waited for the sketches.
      for (int head = 0; head < KV_HEADS; head++) {
        CudaKeySketches found = (CudaKeySketches) cuda.heads[head];
        assertCentre(cpu.heads[head].centre, found);
        assertSketches(keys, head, cpu.heads[head], found);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "KERNELS, 64, 16, 1, 3, 23, 0, 32, INTERLEAVED",
        "KERNELS, 80, 8, 1, 7, 17, 100, 20, HALF_SPLIT",
    "KERNELS, 128, 1, 2, 3, 97, 40, 64, HALF_SPLIT", "KERNELS, 256, 32, 1, 4, 9, 0, 0, HALF_SPLIT",
    "PLAIN, 64, 16, 1, 3, 300, 1000, 32, INTERLEAVED", "PLAIN, 96, 8, 2, 7, 33, 0, 16, HALF_SPLIT"
  })
  void sketchesByChannelAndTheirMassesAreTheCpus(
      HostCode code,
      int headSize,
      int pageTokens,
      int bits,
      int group,
      int pages,
      int window,
      int pairs,
      Rope.Pairing pairing) {
    Rope rope = pairs == 0 ? null : rope(pairs, pairing);
    SketchChannels[] channels = {
      ChannelFixtures.channels(headSize, 1, bits), ChannelFixtures.channels(headSize, 2, bits)
    };
    Coding coding = (memory, head) -> memory.newSketches(channels[head], rope);
    PageLayout layout = new PageLayout(headSize, pageTokens, KvFormat.BF16);
    float scale = 1 / (float) Math.sqrt(headSize);
    AttentionShape shape = new AttentionShape(KV_HEADS * group, KV_HEADS, headSize, scale, window);
    Keys keys = new Keys(layout, rope, pages);
    try (Side cpu = new Side(CpuDevice.open(1), shape, coding, keys);
        Side cuda = new Side(HostDriver.device(256L << 20, code), shape, coding, keys)) {
      assertMassesAlike(cpu, cuda, pages * pageTokens);
      for (int head = 0; head < KV_HEADS; head++) {
        CudaKeySketches found = (CudaKeySketches) cuda.heads[head];
        assertCentre(cpu.heads[head].centre, found);
        assertChannels(cpu.heads[head], found);
      }
    }
  }

  private static Rope rope(int pairs, Rope.Pairing pairing) {
    float[] frequencies = new float[pairs];
    for (int i = 0; i < pairs; i++) {
      frequencies[i] = (float) Math.pow(100_000, -1.0 * i / pairs);
    }
    return new Rope(frequencies, pairing);
  }

  private static void assertCentre(float[] expected, CudaKeySketches found) {
    ByteBuffer centre = HostKernels.load().view(found.centreAddress(), 4L * found.headSize());
    for (int d = 0; d < found.headSize(); d++) {
      assertThat(centre.getFloat(4 * d)).as("centre, %d", d).isCloseTo(expected[d], within(2e-5f));
    }
  }

  /** Codes may differ where the number that they stand for lies beside a threshold. */
  private static void assertSketches(
      Keys keys, int head, KeySketches expected, CudaKeySketches found) {
    int headSize = found.headSize();
    int tokens = found.pages * found.pageTokens();
    int codes = Integer.SIZE / found.planes();
    IntBuffer bits =
        HostKernels.load()
            .view(found.bitsAddress(), 4L * found.words() * found.tokens())
            .asIntBuffer();
    ByteBuffer steps = HostKernels.load().view(found.stepsAddress(), 2L * found.tokens());
    for (int token = 0; token < tokens; token++) {
      boolean same = true;
      double[] turned = null;
      for (int d = 0; d < headSize; d++) {
        int word = expected.wordAt(token, d);
        int difference = bits.get(word) ^ expected.bits[word];
        if ((difference >>> d % codes * found.planes() & (1 << found.planes()) - 1) != 0) {
          turned = turned == null ? keys.turned(head, token, expected.centre) : turned;
          assertBesideThreshold(turned, d, token);
          same = false;
        }
      }
      float step = Float.intBitsToFloat(expected.steps[token] << 16);
      float own = Float.intBitsToFloat(steps.getShort(2 * token) << 16);
      // A unit in the last place of bfloat16, more where a code differs.
      assertThat(own)
          .as("step of token %d", token)
          .isCloseTo(step, within(step / (same ? 128 : 64)));
    }
  }

  /**
   * The levels of a dimension, put together from its codes. One may fall on the other side of a
   * threshold, few do; and a step beside a bfloat16 number may be the next one, with other levels.
   */
  private static void assertChannels(KeySketches expected, CudaKeySketches found) {
    HostKernels host = HostKernels.load();
    IntBuffer bits =
        host.view(found.bitsAddress(), 4L * found.words() * found.tokens()).asIntBuffer();
    ByteBuffer steps = host.view(found.stepsAddress(), 2L * found.tokens());
    KeySketches copy = new KeySketches(found.pageTokens(), found.channels(), found.rope());
    copy.bits = new int[bits.remaining()];
    bits.get(copy.bits);
    int tokens = found.pages * found.pageTokens();
    int[] codesOf = found.channels().keptCodes();
    int others = 0;
    int all = 0;
    for (int token = 0; token < tokens; token++) {
      int stepBits = Math.abs(expected.steps[token] - steps.getShort(2 * token));
      assertThat(stepBits).as("step of token %d, in units of the last place", token).isLessThan(2);
      int index = 0;
      for (int codes : codesOf) {
        int level = 0;
        int own = 0;
        for (int i = 0; i < codes; i++, index++) {
          level = level * 4 + expected.code(token, index);
          own = own * 4 + copy.code(token, index);
        }
        assertThat(Math.abs(own - level)).as("token %d", token).isLessThan(2);
        others += own == level ? 0 : 1;
        all++;
      }
    }
    assertThat(others).as("of %d levels", all).isLessThan(1 + all / 500);
  }

  private static void assertBesideThreshold(double[] turned, int d, int token) {
    double square = 0;
    for (double value : turned) {
      square += value * value;
    }
    double outer = 2 * 0.4979 * Math.sqrt(square / turned.length);
    double value = Math.abs(turned[d]);
    assertThat(Math.min(value, Math.abs(value - outer)))
        .as("token %d, dimension %d: from the nearest threshold", token, d)
        .isLessThan(2e-4);
  }

  private static void assertMassesAlike(Side cpu, Side cuda, int tokens) {
    for (int position : new int[] {tokens, tokens + 37}) {
      cpu.score(position);
      cuda.score(position);
      for (int head = 0; head < KV_HEADS; head++) {
        assertMasses(cpu.heads[head], cuda.heads[head]);
      }
    }
  }

  /** The CPU takes slow waves for parabolas within a block, and differing codes count. */
  private static void assertMasses(KeySketches expected, KeySketches found) {
    double sum = 0;
    for (int page = 0; page < expected.pages; page++) {
      assertThat(found.mass[page])
          .as("mass of page %d", page)
          .isCloseTo(expected.mass[page], within(1e-5f + 5e-3f * expected.mass[page]));
      sum += found.mass[page];
    }
    assertThat(sum).isCloseTo(1, within(1e-4));
  }

  /** Keys that have a mean in common before they are turned to their positions. */
  private static final class Keys {
    final PageLayout layout;
    final Rope rope;
    final int pages;

    /** {@code [head][token][dimension]}, bfloat16 numbers. */
    final float[][][] values;

    Keys(PageLayout layout, Rope rope, int pages) {
      this.layout = layout;
      this.rope = rope;
      this.pages = pages;
      int headSize = layout.headSize();
      Random random = new Random(headSize + pages);
      values = new float[KV_HEADS][pages * layout.pageTokens()][headSize];
      for (float[][] head : values) {
        for (int token = 0; token < head.length; token++) {
          double[] key = new double[headSize];
          for (int d = 0; d < headSize; d++) {
            key[d] = random.nextGaussian() + (d % 3 == 0 ? 2 : 0);
          }
          turn(key, token);
          for (int d = 0; d < headSize; d++) {
            head[token][d] =
                Float.intBitsToFloat(Float.floatToRawIntBits((float) key[d]) & ~0xffff);
          }
        }
      }
    }

    private void turn(double[] x, int position) {
      int pairs = rope == null ? 0 : rope.inverseFrequencies().length;
      for (int i = 0; i < pairs; i++) {
        boolean half = rope.pairing() == Rope.Pairing.HALF_SPLIT;
        int first = half ? i : 2 * i;
        int second = half ? i + pairs : 2 * i + 1;
        double angle = (double) position * rope.inverseFrequencies()[i];
        double a = x[first];
        double b = x[second];
        x[first] = a * Math.cos(angle) - b * Math.sin(angle);
        x[second] = b * Math.cos(angle) + a * Math.sin(angle);
      }
    }

    /** A key without its centre, as the sketches see it. */
    double[] turned(int head, int token, float[] centre) {
      double[] here = new double[centre.length];
      for (int d = 0; d < here.length; d++) {
        here[d] = centre[d];
      }
      turn(here, token);
      double[] turned = new double[here.length];
      double[][] rotation = KeyRotation.orthonormal(here.length);
      for (int i = 0; i < here.length; i++) {
        for (int j = 0; j < here.length; j++) {
          turned[i] += rotation[i][j] * (values[head][token][j] - here[j]);
        }
      }
      return turned;
    }

    int[] words(int head, int page) {
      int[] words = new int[layout.wordsPerPage()];
      int half = layout.headSize() / 2;
      for (int t = 0; t < layout.pageTokens(); t++) {
        float[] key = values[head][page * layout.pageTokens() + t];
        for (int j = 0; j < half; j++) {
          int low = Float.floatToRawIntBits(key[j]) >>> 16;
          int high = Float.floatToRawIntBits(key[j + half]) & ~0xffff;
          words[j * layout.pageTokens() + t] = low | high;
        }
      }
      return words;
    }
  }

  /** Empty sketches of a head. */
  private interface Coding {
    KeySketches of(PageMemory memory, int head);
  }

  /** A device that holds the keys, their sketches and a few queries. */
  private static final class Side implements AutoCloseable {
    private static final int ROWS = 3;

    private final Device device;
    private final AttentionShape shape;
    private final PageMemory memory;
    private final Activations queries;
    final KeySketches[] heads = new KeySketches[KV_HEADS];

    Side(Device device, AttentionShape shape, Coding coding, Keys keys) {
      this.device = device;
      this.shape = shape;
      int columns = shape.heads() * shape.headSize();
      queries = device.activations(ROWS, columns);
      device.embed(device.weight(queryTable(columns)), new int[] {0, 1, 2}, 0, ROWS, 1, queries);
      long bytes = (long) (KV_HEADS * keys.pages + 1) * keys.layout.pageBytes() + (4L << 20);
      memory = device.pageMemory(keys.layout, bytes);
      memory.ensure(KV_HEADS * keys.pages);
      List<SketchedPage> first = new ArrayList<>();
      List<SketchedPage> later = new ArrayList<>();
      for (int head = 0; head < KV_HEADS; head++) {
        heads[head] = coding.of(memory, head);
        heads[head].ensure(keys.pages);
        for (int page = 0; page < keys.pages; page++) {
          int slot = (keys.pages - 1 - page) * KV_HEADS + head;
          memory.write(slot, keys.words(head, page), 0);
          (page < FIRST_PAGES ? first : later).add(new SketchedPage(heads[head], page, slot));
        }
      }
      device.sketchKeys(memory, first);
      device.sketchKeys(memory, later);
    }

    /** bfloat16 numbers: both devices keep them exactly. */
    private static TensorData queryTable(int columns) {
      Random random = new Random(columns);
      ByteBuffer bytes = ByteBuffer.allocate(2 * ROWS * columns).order(ByteOrder.LITTLE_ENDIAN);
      while (bytes.hasRemaining()) {
        bytes.putShort((short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16));
      }
      return new TensorData("queries", TensorType.BF16, ROWS, columns, bytes.flip());
    }

    /** Of the middle row; what was there before must be gone. */
    void score(int position) {
      for (KeySketches sketches : heads) {
        Arrays.fill(sketches.mass, 77);
      }
      device.scoreSketches(queries, shape, List.of(new SketchSegment(1, position, heads)));
    }

    @Override
    public void close() {
      for (KeySketches sketches : heads) {
        sketches.release();
      }
      memory.close();
      device.close();
    }
  }
}
