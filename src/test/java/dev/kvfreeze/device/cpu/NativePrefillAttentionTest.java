package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Prefill attention in C against the dense softmax in float64 and against the scalar kernels.
 *
 * <p>Where there are products of bfloat16 numbers each weight is rounded to bfloat16, by a factor
 * within 2^-8 of 1, and their total is that of the rounded ones. So a result is off by at most 2^-8
 * of the mean distance of its values from it; a fortieth more allows for the rounding of scores.
 * Elsewhere all is float32.
 */
@Tag("native-kernels")
@ParameterizedClass
@MethodSource("levels")
class NativePrefillAttentionTest {

  private static final int[] CONTEXTS = {2, 15, 16, 17, 54, 127, 129, 300, 700};
  private static final int[] ROWS = {2, 3, 7, 16, 33, 70, 129};
  private static final int[] HEAD_SIZES = {64, 32, 128, 96, 80, 256};
  private static final int[] GROUPS = {1, 3, 4, 7, 8};
  private static final int[] PAGES = {16, 1, 8, 32, 5, 40, 200};
  private static final int[] WINDOWS = {0, 20, 0, 130, 0};

  private static WorkerPool pool;

  private final NativeLevel level;
  private final boolean inBfloat16;
  private final double rounding;

  NativePrefillAttentionTest(NativeLevel level) {
    this.level = level;
    inBfloat16 = level != level.inFloat32();
    rounding = inBfloat16 ? 1.025 / 256 : 5e-6;
  }

  /** Those that are loaded: beside the highest, the levels below it, down to float32. */
  static Stream<NativeLevel> levels() {
    return Stream.of(NativeLevel.values()).filter(NativeLibrary::has);
  }

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

  /**
   * Every context with every row count and page size, but the longest with some; the other
   * dimensions take turns.
   */
  static Stream<Arguments> cases() {
    List<Arguments> cases = new ArrayList<>();
    int turn = 0;
    for (int context : CONTEXTS) {
      for (int rows : ROWS) {
        for (int page : PAGES) {
          if (rows <= context && (context < 300 || page >= 16 && rows != 33 && rows != 70)) {
            int headSize = context == 700 ? 64 : HEAD_SIZES[turn % HEAD_SIZES.length];
            int group = GROUPS[turn / 3 % GROUPS.length];
            int window = WINDOWS[turn / 2 % WINDOWS.length];
            AttentionCase.Pages kind = AttentionCase.Pages.values()[turn % 11 % 3];
            cases.add(Arguments.of(context, rows, page, headSize, group, kind, window));
            turn++;
          }
        }
      }
    }
    return cases.stream();
  }

  @ParameterizedTest(name = "{0} tokens, {1} rows, pages {2}, head {3} x {4}, {5}, window {6}")
  @MethodSource("cases")
  void equalsDenseSoftmax(
      int context,
      int rows,
      int page,
      int headSize,
      int group,
      AttentionCase.Pages kind,
      int window) {
    AttentionShape shape = shape(group, headSize, window);
    AttentionCase layer = new AttentionCase(shape, page, KvFormat.BF16, 31 * context + rows);
    layer.add(context, rows, kind, 1f).wantMass();
    layer.write(pool);
    assertDense(layer, rounding);
  }

  @ParameterizedTest
  @CsvSource({
    "300, 33, 16, 64, 3",
    "129, 129, 5, 64, 7",
    "700, 70, 16, 128, 4",
    "200, 64, 1, 256, 1",
    "257, 40, 40, 192, 2"
  })
  void bytesByQuarters(int context, int rows, int page, int headSize, int group) {
    for (AttentionCase.Pages kind : AttentionCase.Pages.values()) {
      AttentionShape shape = shape(group, headSize, context == 257 ? 77 : 0);
      AttentionCase layer = new AttentionCase(shape, page, KvFormat.INT8, context);
      layer.add(context, rows, kind, 1f).wantMass();
      layer.write(pool);
      // A value of 8 bits times its scale is rounded to bfloat16 as well; none is above 5.
      assertDense(layer, rounding, inBfloat16 ? 5 * 0x1p-9 : 0);
    }
  }

  @Test
  void isWithinItsRoundingOfTheScalarKernels() {
    AttentionCase layer = mixed(0, true);
    float[] expected = attend(layer, new PagedAttention(pool, new ScalarAttentionKernels()));
    float[] expectedMasses = layer.masses();
    float[] out = attend(layer, natively(pool));
    float[] masses = layer.masses();
    double square = 0;
    for (int i = 0; i < out.length; i++) {
      // Values are normal deviates: none lies farther than 5 from a mean.
      assertThat(out[i]).isCloseTo(expected[i], within((float) (5 * rounding)));
      square += Math.pow(out[i] - expected[i], 2);
    }
    // Roundings are uniform and independent, so they leave much less than they could.
    assertThat(Math.sqrt(square / out.length)).isLessThan(inBfloat16 ? 0.15 / 256 : rounding);
    for (int i = 0; i < masses.length; i++) {
      assertThat(masses[i])
          .isCloseTo(expectedMasses[i], within((float) (rounding * expectedMasses[i] + 1e-6)));
    }
  }

  @Test
  void extremeScores() {
    // Magnitude 9 in 64 dimensions at scale 1/8: scores around +-80, whose terms round to 2^-17.
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 8);
    layer.add(200, 40, AttentionCase.Pages.RAGGED, 9f).wantMass();
    AttentionCase.Sequence same = layer.add(130, 8, AttentionCase.Pages.DENSE, 1f);
    Arrays.fill(same.keys, 3f);
    layer.write(pool);
    assertDense(layer, rounding + 0.01);
  }

  @Test
  void equalScoresGiveExactMeans() {
    for (int window : new int[] {0, 33}) {
      AttentionCase layer = new AttentionCase(shape(3, 64, window), 16, KvFormat.BF16, 3);
      AttentionCase.Sequence s = layer.add(290, 70, AttentionCase.Pages.FROZEN, 1f);
      Arrays.fill(s.queries, 0f);
      for (int i = 0; i < s.values.length; i++) {
        s.values[i] = i * 7919 % 255 - 127;
      }
      layer.write(pool);
      float[] out = attend(layer, natively(pool));
      for (int head = 0; head < 6; head++) {
        for (int row = 0; row < s.rowCount; row++) {
          int tokens = s.seen(row, head).size();
          double[] mean = s.dense(row, head, new double[s.segment.heads()[head / 3].count]);
          for (int d = 0; d < mean.length; d++) {
            float sum = Math.round(mean[d] * tokens);
            assertThat(out[(row * 6 + head) * 64 + d]).isEqualTo(sum * (1f / tokens));
          }
        }
      }
    }
  }

  @Test
  void oneScoreFarAboveTheOthersGivesItsValue() {
    AttentionCase layer = new AttentionCase(shape(1, 32, 0), 16, KvFormat.BF16, 4);
    AttentionCase.Sequence s = layer.add(300, 60, AttentionCase.Pages.DENSE, 1f);
    Arrays.fill(s.queries, 100f);
    Arrays.fill(s.keys, -1f);
    int target = 137;
    Arrays.fill(s.keys, target * 2 * 32, (target + 1) * 2 * 32, 1f);
    layer.write(pool);
    float[] out = attend(layer, natively(pool));
    for (int row = 0; row < s.rowCount; row++) {
      for (int i = 0; i < 64; i++) {
        float value = Bfloat16.low(Bfloat16.bits(s.values[target * 64 + i]));
        assertThat(out[row * 64 + i]).isEqualTo(value);
      }
    }
  }

  @Test
  void aRowIsTheSameInAnyChunk() {
    for (int window : new int[] {0, 77}) {
      for (AttentionCase.Pages kind : AttentionCase.Pages.values()) {
        AttentionCase layer = new AttentionCase(shape(3, 64, window), 16, KvFormat.BF16, 5);
        AttentionCase.Sequence s = layer.add(900, 500, kind, 2f);
        layer.write(pool);
        float[] whole = attend(layer, natively(pool));
        for (int chunk : new int[] {2, 7, 64, 250}) {
          CpuActivations out = layer.output();
          List<AttentionSegment> chunks = new ArrayList<>();
          for (int row = 0; row < s.rowCount; row += chunk) {
            int rows = Math.min(chunk, s.rowCount - row);
            int first = s.segment.firstPosition() + row;
            chunks.add(new AttentionSegment(row, rows, first, s.segment.heads()));
          }
          natively(pool).attend(layer.queries(), layer.shape, layer.memory, chunks, out);
          assertThat(Arrays.equals(out.values(), whole)).as("chunks of %d", chunk).isTrue();
        }
      }
    }
  }

  @Test
  void dependsNeitherOnThreadsNorOnTheBatch() {
    AttentionCase layer = mixed(0, true);
    float[] out = attend(layer, natively(pool));
    float[] mass = layer.masses();
    try (WorkerPool three = new WorkerPool(3)) {
      assertSame(attend(layer, natively(three)), out);
      assertThat(layer.masses()).containsExactly(mass);
    }
    CpuActivations single = layer.output();
    for (AttentionCase.Sequence s : layer.sequences) {
      List<AttentionSegment> one = List.of(s.segment);
      natively(pool).attend(layer.queries(), layer.shape, layer.memory, one, single);
    }
    assertSame(single.values(), out);
    assertThat(layer.masses()).containsExactly(mass);
    assertSame(attend(mixed(0, false), natively(pool)), out);
  }

  @Test
  void callsMayBeShortAndTheCollectorMayMoveTheScratch() throws InterruptedException {
    AttentionCase layer = new AttentionCase(shape(3, 256, 0), 16, KvFormat.BF16, 6);
    // 3 MiB of pages before, between and after, so that each head's lie in several slabs.
    for (int i = 0; i < 5; i++) {
      layer.add(700, 20, AttentionCase.Pages.FROZEN, 1f).wantMass();
    }
    layer.write(pool);
    float[] expected = attend(layer, natively(pool));
    float[] expectedMasses = layer.masses();
    Thread collector =
        new Thread(
            () -> {
              while (!Thread.currentThread().isInterrupted()) {
                System.gc();
              }
            });
    collector.start();
    try {
      for (int repeat = 0; repeat < 5; repeat++) {
        // Blocks of 8 pages fill the 8 slabs at most; one operation a call leaves one block.
        NativePrefillAttention shortCalls =
            new NativePrefillAttention(level, 8, repeat == 0 ? 1L << 40 : 1);
        CpuActivations out = layer.output();
        for (AttentionCase.Sequence s : layer.sequences) {
          for (int head = 0; head < 2; head++) {
            PrefillAttention.Item item =
                new PrefillAttention.Item(s.segment, head, 0, s.rowCount, 0);
            float[] mass = new float[s.segment.heads()[head].count];
            shortCalls.attend(item, layer.queries(), layer.shape, layer.memory, out, mass);
          }
        }
        assertSame(out.values(), expected);
      }
    } finally {
      collector.interrupt();
      collector.join();
    }
    assertThat(layer.masses()).containsExactly(expectedMasses);
  }

  @Test
  void massSumsToOne() {
    AttentionCase layer = mixed(77, true);
    attend(layer, natively(pool));
    for (AttentionCase.Sequence s : layer.sequences) {
      for (HeadPages pages : s.segment.heads()) {
        double sum = 0;
        for (int p = 0; p < pages.count; p++) {
          sum += pages.mass[p];
        }
        assertThat(sum).isCloseTo(1, within(rounding));
      }
    }
  }

  @Test
  void garbageBeyondAPagesTokensIsNotRead() {
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 12);
    AttentionCase.Sequence s = layer.add(333, 40, AttentionCase.Pages.RAGGED, 1f);
    layer.write(pool);
    float[] expected = attend(layer, natively(pool));
    int[] words = new int[layer.layout.wordsPerPage()];
    int half = layer.layout.wordsPerToken();
    for (HeadPages pages : s.segment.heads()) {
      for (int p = 0; p < pages.count; p++) {
        layer.memory.read(pages.slots[p], words, 0);
        for (int t = pages.tokenCounts[p]; t < 16; t++) {
          for (int j = 0; j < half; j++) {
            words[j * 16 + t] = 0x7fc07fc0;
            words[layer.layout.valueOffset() + t * half + j] = 0x7fc07f80;
          }
        }
        layer.memory.write(pages.slots[p], words, 0);
      }
    }
    assertSame(attend(layer, natively(pool)), expected);
  }

  @Test
  void takesHeadSizesThatFillMatrixTiles() {
    for (int headSize : new int[] {32, 64, 96, 128, 256}) {
      assertThat(NativePrefillAttention.supports(new PageLayout(headSize, 16, KvFormat.BF16)))
          .isTrue();
      assertThat(NativePrefillAttention.supports(new PageLayout(headSize, 16, KvFormat.F32)))
          .isFalse();
      assertThat(NativePrefillAttention.supports(new PageLayout(headSize, 16, KvFormat.INT8)))
          .isEqualTo(headSize % 64 == 0);
    }
    for (int headSize : new int[] {16, 48, 80, 288}) {
      assertThat(NativePrefillAttention.supports(new PageLayout(headSize, 16, KvFormat.BF16)))
          .isFalse();
    }
  }

  @Test
  void pagesOutsideTheirMemoryAreRefused() {
    AttentionCase layer = mixed(0, false);
    HeadPages pages = layer.sequences.get(0).segment.heads()[0];
    pages.tokenCounts[1] = 17;
    assertThatThrownBy(() -> attend(layer, natively(pool)))
        .isInstanceOf(IndexOutOfBoundsException.class);
    pages.tokenCounts[1] = 16;
    pages.slots[1] = 1 << 24;
    assertThatThrownBy(() -> attend(layer, natively(pool)))
        .isInstanceOf(IndexOutOfBoundsException.class);
  }

  private static AttentionShape shape(int group, int headSize, int window) {
    return new AttentionShape(2 * group, 2, headSize, (float) (1 / Math.sqrt(headSize)), window);
  }

  private PagedAttention natively(WorkerPool threads) {
    return new PagedAttention(threads, new VectorAttentionKernels(), level);
  }

  private static AttentionCase mixed(int window, boolean wantMass) {
    AttentionCase layer = new AttentionCase(shape(3, 64, window), 16, KvFormat.BF16, 77);
    int[][] sizes = {{400, 37}, {700, 300}, {17, 2}, {300, 97}, {1300, 5}, {150, 150}};
    for (int[] size : sizes) {
      AttentionCase.Sequence s = layer.add(size[0], size[1], AttentionCase.Pages.FROZEN, 1f);
      if (wantMass) {
        s.wantMass();
      }
    }
    layer.write(pool);
    return layer;
  }

  private static float[] attend(AttentionCase layer, PagedAttention attention) {
    CpuActivations out = layer.output();
    attention.attend(layer.queries(), layer.shape, layer.memory, layer.segments(), out);
    return out.values();
  }

  /** To the bit; the arrays are too long to print, and for AssertJ. */
  private static void assertSame(float[] found, float[] expected) {
    assertThat(Arrays.mismatch(found, expected)).as("first difference").isEqualTo(-1);
  }

  private void assertDense(AttentionCase layer, double rounding) {
    assertDense(layer, rounding, 0);
  }

  private void assertDense(AttentionCase layer, double rounding, double ofValues) {
    new DenseComparison(layer, rounding, ofValues).check(attend(layer, natively(pool)));
  }
}
