package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.Rope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Sketches against a plain decoding of their bits, and against exact attention. */
class SketchTwinTest {
  /** Instead of a number of planes: codes of some dimensions. */
  private static final int CHANNELS = 0;

  @ParameterizedTest
  @CsvSource({
    "64, 16, 1, 3, 40, 0", "64, 16, 2, 3, 40, 0", "80, 8, 1, 1, 9, 0", "96, 16, 2, 4, 7, 0",
    "128, 1, 1, 2, 97, 0", "256, 16, 1, 4, 140, 0", "64, 7, 2, 3, 54, 0", "64, 16, 1, 3, 40, 100",
    "64, 5, 1, 1, 1, 0", "64, 16, 0, 3, 40, 0", "80, 7, 0, 7, 33, 100", "256, 16, 0, 4, 40, 0"
  })
  void massIsTheSoftmaxOfTheDecodedSketches(
      int headSize, int pageTokens, int planes, int group, int pages, int window) {
    try (Fixture fixture = new Fixture(headSize, pageTokens, planes, group, pages, window, null)) {
      fixture.assertMass(1e-3f);
    }
  }

  /** The tolerance is that of a slow wave taken for a parabola within a block. */
  @ParameterizedTest
  @CsvSource({
    "64, 16, 1, 3, 140, 0, 64, INTERLEAVED", "64, 16, 2, 3, 40, 0, 64, HALF_SPLIT",
    "80, 8, 1, 1, 9, 0, 40, HALF_SPLIT", "128, 1, 2, 2, 97, 0, 128, INTERLEAVED",
    "64, 7, 2, 7, 54, 0, 64, HALF_SPLIT", "64, 16, 1, 3, 300, 100, 32, INTERLEAVED",
    "64, 16, 1, 4, 1, 0, 64, HALF_SPLIT", "256, 16, 1, 4, 140, 0, 256, HALF_SPLIT",
    "64, 16, 0, 3, 140, 0, 64, INTERLEAVED", "96, 24, 0, 7, 20, 300, 96, HALF_SPLIT"
  })
  void aCentreThatTurnsWithThePositionIsScoredWhereEachKeyIs(
      int headSize,
      int pageTokens,
      int planes,
      int group,
      int pages,
      int window,
      int turned,
      Rope.Pairing pairing) {
    Rope rope = rope(turned, 100_000, pairing);
    try (Fixture fixture = new Fixture(headSize, pageTokens, planes, group, pages, window, rope)) {
      fixture.assertMass(5e-3f);
    }
  }

  @Test
  void theTurningCentreIsWhatTheKeysHadInCommon() {
    Rope rope = rope(64, 10_000, Rope.Pairing.INTERLEAVED);
    try (Fixture fixture = new Fixture(64, 16, 1, 1, 200, 0, rope)) {
      for (int d = 0; d < 64; d++) {
        assertThat(fixture.sketches.centre[d]).isCloseTo(d % 3 == 0 ? 2 : 0, within(0.1f));
      }
    }
  }

  /** Only pages asked for are scored; what they get leaves out what the others are taken to get. */
  @ParameterizedTest
  @CsvSource({
    "64, 16, 2, 3, 140, 0",
    "64, 16, 1, 3, 300, 700",
    "80, 8, 1, 1, 97, 0",
    "128, 1, 2, 2, 97, 0",
    "64, 7, 2, 7, 54, 0",
    "96, 24, 2, 4, 33, 0",
    "64, 16, 1, 4, 5, 0",
    "64, 16, 0, 3, 140, 700"
  })
  void onlyThePagesAskedForAreScored(
      int headSize, int pageTokens, int planes, int group, int pages, int window) {
    Rope rope = rope(headSize, 100_000, Rope.Pairing.HALF_SPLIT);
    try (Fixture fixture = new Fixture(headSize, pageTokens, planes, group, pages, window, rope)) {
      Random random = new Random(pages);
      int[] asked =
          IntStream.range(0, pages)
              .filter(page -> page == pages - 1 || random.nextInt(3) == 0)
              .toArray();
      fixture.sketches.ask(asked, asked.length, 0.25f);
      float[] expected = fixture.massOfDecodedSketches();
      fixture.score();
      for (int page = 0; page < pages; page++) {
        assertThat(fixture.sketches.mass[page])
            .as("page %d", page)
            .isCloseTo(expected[page], within(1e-5f + 5e-3f * expected[page]));
      }
      fixture.sketches.askAll();
      fixture.assertMass(5e-3f);
    }
  }

  @Test
  void growsWithTheSequence() {
    Rope rope = rope(64, 10_000, Rope.Pairing.HALF_SPLIT);
    try (Fixture small = new Fixture(64, 16, 1, 3, 5, 0, rope)) {
      small.assertMass(5e-3f);
      try (Fixture large = new Fixture(64, 16, 1, 3, 300, 0, rope, small.device)) {
        large.assertMass(5e-3f);
        small.assertMass(5e-3f);
      }
    }
  }

  private static Rope rope(int turned, double base, Rope.Pairing pairing) {
    float[] frequencies = new float[turned / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) Math.pow(base, -2.0 * i / turned);
    }
    return new Rope(frequencies, pairing);
  }

  @Test
  void findsThePageThatAQueryWants() {
    for (int planes = 1; planes <= 2; planes++) {
      try (Fixture fixture = new Fixture(64, 16, planes, 1, 200, 0, null)) {
        for (int token : new int[] {0, 17, 1600, 3199}) {
          fixture.askFor(token);
          fixture.score();
          int best = 0;
          for (int page = 0; page < 200; page++) {
            best = fixture.sketches.mass[page] > fixture.sketches.mass[best] ? page : best;
          }
          assertThat(best).isEqualTo(token / 16);
        }
      }
    }
  }

  /** Keys far from the centre, where sketches err most, are not promised more than they get. */
  @Test
  void massOfAGroupOfPagesIsRightOnAverage() {
    for (int planes = 1; planes <= 2; planes++) {
      double error = 0;
      for (int round = 0; round < 20; round++) {
        try (Fixture fixture = new Fixture(64, 16, planes, 1, 100, 0, null)) {
          Random random = new Random(round);
          for (int d = 0; d < 64; d++) {
            fixture.queries.values()[d] = 2 * (float) random.nextGaussian();
          }
          error += Math.log(fixture.estimatedShare() / fixture.exactShare());
        }
      }
      assertThat(error / 20).as("%d bits", planes).isCloseTo(0, within(0.15));
    }
  }

  @Test
  void rotationKeepsLengthsAndAngles() {
    Random random = new Random(3);
    for (int size : new int[] {2, 64, 80, 96, 256}) {
      float[] a = new float[size];
      float[] b = new float[size];
      for (int i = 0; i < size; i++) {
        a[i] = (float) random.nextGaussian();
        b[i] = (float) random.nextGaussian();
      }
      float[] turnedA = turned(a);
      float[] turnedB = turned(b);
      assertThat(dot(turnedA, turnedA)).isCloseTo(dot(a, a), within(1e-3));
      assertThat(dot(turnedA, turnedB)).isCloseTo(dot(a, b), within(1e-3));
    }
  }

  /** One vector through the scalar kernels. */
  private static float[] turned(float[] x) {
    RotationMatrix rotation = RotationMatrix.of(x.length);
    int rows = AttentionKernels.paddedRows(1);
    float[] from = Arrays.copyOf(x, rows * x.length + AttentionKernels.SLACK);
    float[] to = new float[rows * rotation.stride() + AttentionKernels.SLACK];
    rotation.rotate(new ScalarAttentionKernels(), from, 1, to);
    return Arrays.copyOf(to, x.length);
  }

  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  /** One head with random keys that have a common mean. */
  private static final class Fixture implements AutoCloseable {
    final CpuDevice device;
    final Rope rope;
    final AttentionShape shape;
    final KeySketches sketches;
    final CpuActivations queries;
    final float[][] keys;
    final int position;

    Fixture(int headSize, int pageTokens, int planes, int group, int pages, int window, Rope rope) {
      this(headSize, pageTokens, planes, group, pages, window, rope, CpuDevice.open(2));
    }

    Fixture(
        int headSize,
        int pageTokens,
        int planes,
        int group,
        int pages,
        int window,
        Rope rope,
        CpuDevice device) {
      this.device = device;
      this.rope = rope;
      Random random = new Random(headSize + planes);
      shape = new AttentionShape(group, 1, headSize, 1 / (float) Math.sqrt(headSize), window);
      sketches =
          planes == CHANNELS
              ? new KeySketches(pageTokens, ChannelFixtures.even(headSize), rope)
              : new KeySketches(headSize, pageTokens, planes, rope);
      int tokens = pages * pageTokens;
      position = tokens;
      keys = new float[tokens][headSize];
      CpuActivations k = CpuActivations.allocate(tokens, headSize);
      for (int t = 0; t < tokens; t++) {
        float[] key = new float[headSize];
        for (int d = 0; d < headSize; d++) {
          double spread = t < tokens / 2 ? 1 : 1.5;
          key[d] = (float) (spread * random.nextGaussian()) + (d % 3 == 0 ? 2 : 0);
        }
        key = turnedTo(key, t);
        for (int d = 0; d < headSize; d++) {
          // bfloat16 numbers, so that the page holds them exactly.
          keys[t][d] = Bfloat16.low(Bfloat16.bits(key[d]));
          k.values()[t * headSize + d] = keys[t][d];
        }
      }
      PageLayout layout = new PageLayout(headSize, pageTokens, KvFormat.BF16);
      CpuPageMemory memory = new CpuPageMemory(layout, (long) pages * layout.pageBytes());
      memory.ensure(pages);
      HeadPages list = new HeadPages();
      list.ensure(pages);
      List<SketchedPage> jobs = new ArrayList<>();
      for (int page = 0; page < pages; page++) {
        list.slots[page] = page;
        list.firstPositions[page] = page * pageTokens;
        list.tokenCounts[page] = pageTokens;
        jobs.add(new SketchedPage(sketches, page, page));
      }
      list.count = pages;
      device.writeKv(
          k, k, shape, memory, List.of(new AttentionSegment(0, tokens, 0, new HeadPages[] {list})));
      sketches.ensure(pages);
      device.sketchKeys(memory, jobs);
      queries = CpuActivations.allocate(1, group * headSize);
      for (int i = 0; i < group * headSize; i++) {
        queries.values()[i] = (float) random.nextGaussian();
      }
    }

    /** As the rotary embedding does. */
    float[] turnedTo(float[] x, int position) {
      float[] to = x.clone();
      if (rope != null) {
        rope.turn(x, position, to, x.length);
      }
      return to;
    }

    void assertMass(float tolerance) {
      float[] expected = massOfDecodedSketches();
      score();
      double sum = 0;
      for (int page = 0; page < sketches.pages; page++) {
        assertThat(sketches.mass[page])
            .as("page %d", page)
            .isCloseTo(expected[page], within(1e-5f + tolerance * expected[page]));
        sum += sketches.mass[page];
      }
      assertThat(sum).isCloseTo(1, within(1e-4));
    }

    /** Of the second half of the pages, whose keys are farther from the centre. */
    double estimatedShare() {
      score();
      double share = 0;
      for (int page = sketches.pages / 2; page < sketches.pages; page++) {
        share += sketches.mass[page];
      }
      return share;
    }

    double exactShare() {
      double far = 0;
      double all = 0;
      for (int t = 0; t < keys.length; t++) {
        double weight = Math.exp(dot(queries.values(), keys[t]) * shape.scale());
        all += weight;
        far += t < keys.length / 2 ? 0 : weight;
      }
      return far / all;
    }

    void askFor(int token) {
      for (int d = 0; d < shape.headSize(); d++) {
        queries.values()[d] = 2 * (keys[token][d] - sketches.centre[d]);
      }
    }

    void score() {
      device.scoreSketches(
          queries, shape, List.of(new SketchSegment(0, position, new KeySketches[] {sketches})));
    }

    /** Of the pages asked for; the others' share is left out. */
    float[] massOfDecodedSketches() {
      boolean[] wanted = new boolean[sketches.pages];
      for (int i = 0; i < sketches.askedCount(); i++) {
        wanted[sketches.asked(i)] = true;
      }
      int headSize = shape.headSize();
      int planes = sketches.planes();
      float[] mass = new float[sketches.pages];
      for (int g = 0; g < shape.groupSize(); g++) {
        float[] asked = Arrays.copyOfRange(queries.values(), g * headSize, (g + 1) * headSize);
        float[] query = byCode(asked);
        double[] scores = new double[keys.length];
        double total = 0;
        int start = VisiblePages.windowStart(position, shape.window());
        for (int t = start; t < keys.length; t++) {
          if (!wanted[t / sketches.pageTokens()]) {
            continue;
          }
          double score = 0;
          for (int i = 0; i < sketches.codes(); i++) {
            int code = sketches.code(t, i);
            score += query[i] * (2 * code - ((1 << planes) - 1));
          }
          double common = dot(asked, turnedTo(sketches.centre, t));
          double step = Bfloat16.low(sketches.steps[t]);
          score = (score * step + common) * shape.scale();
          double scaledSquare = dot(asked, asked) * shape.scale() * shape.scale();
          scores[t] = Math.exp(score - sketches.errorVariance() * scaledSquare * step * step / 2);
          total += scores[t];
        }
        for (int t = start; t < keys.length; t++) {
          mass[t / sketches.pageTokens()] +=
              (1 - sketches.unaskedShare()) * scores[t] / total / shape.groupSize();
        }
      }
      return mass;
    }

    private float[] byCode(float[] query) {
      SketchChannels channels = sketches.channels();
      if (channels == null) {
        return turned(query);
      }
      float[] weighted = new float[channels.codes()];
      for (int i = 0; i < weighted.length; i++) {
        weighted[i] = query[channels.dimensions()[i]] * channels.weights()[i];
      }
      return weighted;
    }

    @Override
    public void close() {
      device.close();
    }
  }
}
