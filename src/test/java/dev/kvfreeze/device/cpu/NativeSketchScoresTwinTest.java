package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.Rope;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Sketch scores in C against the scalar kernels. The tolerance is that of queries and waves rounded
 * to 16 bits, a thousandth of a page's mass, and three where the weights of channels spread them;
 * the codes' own error is hundreds of times that.
 */
@Tag("native-kernels")
class NativeSketchScoresTwinTest {
  private static final float TOLERANCE = 1e-3f;
  private static final float CHANNELS_TOLERANCE = 3e-3f;
  private static final int KV_HEADS = 2;

  /** Instead of a number of planes: codes of some dimensions, not the same in every head. */
  private static final int CHANNELS = 0;

  private static WorkerPool pool;

  @BeforeAll
  static void start() {
    NativeKernelAssumptions.assume();
    pool = new WorkerPool(2);
  }

  @AfterAll
  static void stop() {
    if (pool != null) {
      pool.close();
    }
  }

  @ParameterizedTest(name = "heads of {0}, pages of {1}")
  @CsvSource({
    "64,16", "64,1", "64,5", "64,8", "64,32", "80,16", "80,7", "96,8", "96,24", "128,16", "128,1",
    "256,16", "256,32", "16,16", "48,16"
  })
  void everyShape(int headSize, int pageTokens) {
    for (int planes = CHANNELS; planes <= 2; planes++) {
      for (int group : new int[] {1, 3, 4, 7, 8}) {
        for (Rope.Pairing pairing : Rope.Pairing.values()) {
          Case layer = new Case(headSize, pageTokens, planes, group, rope(headSize, pairing), 0);
          for (int tokens : new int[] {1, 15, 16, 17, 33, 700, 2500}) {
            layer.add((tokens + pageTokens - 1) / pageTokens);
          }
          layer.assertTwin();
        }
        Case fixed = new Case(headSize, pageTokens, planes, group, null, 0);
        fixed.add(1 + 100 / pageTokens);
        fixed.assertTwin();
      }
    }
  }

  @ParameterizedTest(name = "window {0}, pages of {1}")
  @CsvSource({"1,16", "20,16", "300,8", "300,1", "1500,16", "33,32", "100000,16"})
  void windows(int window, int pageTokens) {
    Rope rope = rope(64, Rope.Pairing.HALF_SPLIT);
    Case layer = new Case(64, pageTokens, 2, 3, rope, window);
    for (int pages : new int[] {1, 2, 7, 100, 200}) {
      layer.add(pages);
    }
    layer.assertTwin();
  }

  @ParameterizedTest(name = "pages of {0}")
  @CsvSource({"16", "1", "8", "24"})
  void pagesAskedFor(int pageTokens) {
    Random random = new Random(1);
    for (int one : new int[] {2, 5, 40}) {
      int planes = one == 5 ? CHANNELS : 2;
      Case layer = new Case(64, pageTokens, planes, 3, rope(64, Rope.Pairing.INTERLEAVED), 0);
      layer.add(3);
      layer.add(700);
      for (SketchSegment segment : layer.segments) {
        for (KeySketches head : segment.heads()) {
          int[] pages =
              IntStream.range(0, head.pages)
                  .filter(page -> page == head.pages - 1 || random.nextInt(one) == 0)
                  .toArray();
          head.ask(pages, pages.length, 0.25f);
        }
      }
      layer.segments.get(0).heads()[1].ask(new int[0], 0, 0f);
      layer.assertTwin();
    }
  }

  @Test
  void aHeadWithoutACentre() {
    Case layer = new Case(64, 16, 2, 3, rope(64, Rope.Pairing.INTERLEAVED), 0);
    layer.add(100);
    layer.segments.get(0).heads()[0].centre = null;
    layer.assertTwin();
  }

  @Test
  void doesNotDependOnThreadsNorTheBatch() {
    Case layer = new Case(64, 16, 2, 3, rope(64, Rope.Pairing.INTERLEAVED), 0);
    for (int pages : new int[] {1, 300, 17, 130, 512}) {
      layer.add(pages);
    }
    layer.score(natively(pool));
    float[] expected = layer.masses();
    for (int threads = 1; threads <= 4; threads++) {
      try (WorkerPool threadsPool = new WorkerPool(threads)) {
        SketchScores scores = natively(threadsPool);
        for (int repeat = 0; repeat < 20; repeat++) {
          layer.score(scores);
          assertThat(layer.masses()).containsExactly(expected);
        }
      }
    }
    SketchScores scores = natively(pool);
    for (SketchSegment segment : layer.segments) {
      scores.score(layer.queries(), layer.shape, List.of(segment));
    }
    assertThat(layer.masses()).containsExactly(expected);
  }

  @Test
  void brokenQueriesShow() {
    Case layer = new Case(64, 16, 2, 3, rope(64, Rope.Pairing.INTERLEAVED), 0);
    layer.add(100);
    CpuActivations queries = layer.queries();
    queries.values()[7] = Float.NaN;
    natively(pool).score(queries, layer.shape, layer.segments);
    assertThat(layer.segments.get(0).heads()[0].mass[5]).isNaN();
    assertThat(layer.segments.get(0).heads()[1].mass[5]).isNotNaN();
  }

  @Test
  void queriesOfNothingScoreAlike() {
    Case layer = new Case(64, 16, 2, 3, rope(64, Rope.Pairing.INTERLEAVED), 0);
    layer.add(64);
    CpuActivations zero = CpuActivations.allocate(1, KV_HEADS * 3 * 64);
    natively(pool).score(zero, layer.shape, layer.segments);
    assertThat(layer.segments.get(0).heads()[0].mass[5]).isCloseTo(1 / 64f, within(1e-6f));
  }

  @Test
  void sketchesShorterThanTheirPagesAreRefused() {
    Case layer = new Case(64, 16, 2, 3, null, 0);
    layer.add(100);
    layer.segments.get(0).heads()[0].steps = new short[1599];
    SketchScores scores = natively(pool);
    assertThatThrownBy(() -> layer.score(scores)).isInstanceOf(IndexOutOfBoundsException.class);
  }

  private static Rope rope(int turned, Rope.Pairing pairing) {
    float[] frequencies = new float[turned / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) Math.pow(100_000, -2.0 * i / turned);
    }
    return new Rope(frequencies, pairing);
  }

  private static SketchScores natively(WorkerPool threads) {
    return new SketchScores(
        threads,
        new ScalarAttentionKernels(),
        new ScalarSketchKernels(),
        NativeLibrary.vectorLevel());
  }

  /** Random sketches of some sequences. */
  private static final class Case {
    final AttentionShape shape;
    final int pageTokens;
    final int planes;
    final Rope rope;
    final List<SketchSegment> segments = new ArrayList<>();
    final Random random = new Random(7);

    Case(int headSize, int pageTokens, int planes, int group, Rope rope, int window) {
      float scale = (float) (1 / Math.sqrt(headSize));
      shape = new AttentionShape(KV_HEADS * group, KV_HEADS, headSize, scale, window);
      this.pageTokens = pageTokens;
      this.planes = planes;
      this.rope = rope;
    }

    void add(int pages) {
      KeySketches[] heads = new KeySketches[KV_HEADS];
      for (int h = 0; h < KV_HEADS; h++) {
        KeySketches head =
            planes == CHANNELS
                ? new KeySketches(pageTokens, ChannelFixtures.channels(shape.headSize(), h), rope)
                : new KeySketches(shape.headSize(), pageTokens, planes, rope);
        head.ensure(pages);
        head.pages = pages;
        for (int i = 0; i < head.bits.length; i++) {
          head.bits[i] = random.nextInt();
        }
        for (int i = 0; i < head.steps.length; i++) {
          head.steps[i] = (short) Bfloat16.bits(0.2f + random.nextFloat());
        }
        head.centre = new float[shape.headSize()];
        for (int d = 0; d < head.centre.length; d++) {
          head.centre[d] = 2 * (float) random.nextGaussian();
        }
        heads[h] = head;
      }
      segments.add(new SketchSegment(segments.size(), pages * pageTokens, heads));
    }

    CpuActivations queries() {
      CpuActivations x = CpuActivations.allocate(segments.size(), shape.heads() * shape.headSize());
      Random numbers = new Random(11);
      for (int i = 0; i < x.values().length; i++) {
        x.values()[i] = (float) numbers.nextGaussian();
      }
      return x;
    }

    void score(SketchScores scores) {
      scores.score(queries(), shape, segments);
    }

    float[] masses() {
      List<Float> all = new ArrayList<>();
      for (SketchSegment segment : segments) {
        for (KeySketches head : segment.heads()) {
          for (int page = 0; page < head.pages; page++) {
            all.add(head.mass[page]);
          }
        }
      }
      float[] array = new float[all.size()];
      for (int i = 0; i < array.length; i++) {
        array[i] = all.get(i);
      }
      return array;
    }

    void assertTwin() {
      score(
          new SketchScores(
              pool, new ScalarAttentionKernels(), new ScalarSketchKernels(), NativeLevel.NONE));
      float[] expected = masses();
      score(natively(pool));
      float[] actual = masses();
      for (int i = 0; i < expected.length; i++) {
        float most = 1e-7f + (planes == CHANNELS ? CHANNELS_TOLERANCE : TOLERANCE) * expected[i];
        // Negated, so that NaN fails.
        if (!(Math.abs(actual[i] - expected[i]) <= most)) {
          assertThat(actual[i]).as("page %d", i).isCloseTo(expected[i], within(most));
        }
      }
    }
  }
}
