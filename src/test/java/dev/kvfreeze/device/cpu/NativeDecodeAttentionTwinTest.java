package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Attention of single rows in C against the scalar kernels. */
@Tag("native-kernels")
class NativeDecodeAttentionTwinTest {
  private static final int[] GROUPS = {1, 2, 3, 4, 5, 7, 8};
  private static final double TOLERANCE = 2e-5;

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
    "64,1", "64,8", "64,16", "64,32", "80,1", "80,8", "80,16", "80,32", "96,1", "96,8", "96,16",
    "96,32", "128,1", "128,8", "128,16", "128,32", "256,1", "256,8", "256,16", "256,32", "32,5",
    "48,40", "112,300", "240,3"
  })
  void everyShape(int headSize, int pageTokens) {
    for (int group : GROUPS) {
      AttentionShape shape = shape(group, headSize, 0);
      AttentionCase layer = new AttentionCase(shape, pageTokens, KvFormat.BF16, headSize + group);
      for (int tokens = 1; tokens <= 33; tokens += group % 3 + 1) {
        layer.add(tokens, 1, AttentionCase.Pages.values()[tokens % 3], 1f).wantMass();
      }
      layer.add(700, 1, AttentionCase.Pages.FROZEN, 1f);
      layer.add(1300, 1, AttentionCase.Pages.RAGGED, 1f).wantMass();
      assertTwin(layer, TOLERANCE);
    }
  }

  @ParameterizedTest(name = "window {0}, pages of {1}")
  @CsvSource({"1,16", "5,16", "16,16", "20,8", "300,16", "300,1", "33,32", "2000,16"})
  void windows(int window, int pageTokens) {
    AttentionCase layer =
        new AttentionCase(shape(3, 64, window), pageTokens, KvFormat.BF16, window);
    for (int tokens : new int[] {1, 16, 17, 40, 300, 1500}) {
      for (AttentionCase.Pages pages : AttentionCase.Pages.values()) {
        layer.add(tokens, 1, pages, 1f).wantMass();
      }
    }
    assertTwin(layer, TOLERANCE);
  }

  @Test
  void rowsBeforeTheLastToken() {
    // As in a pass of several rows: the last page already holds the tokens that come after.
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 5);
    AttentionCase.Sequence s = layer.add(100, 1, AttentionCase.Pages.DENSE, 1f);
    layer.write(pool);
    for (int position : new int[] {0, 15, 16, 37, 95, 98}) {
      var early = new AttentionSegment(0, 1, position, s.segment.heads());
      CpuActivations actual = layer.output();
      CpuActivations expected = layer.output();
      natively(pool).attend(layer.queries(), layer.shape, layer.memory, List.of(early), actual);
      scalar().attend(layer.queries(), layer.shape, layer.memory, List.of(early), expected);
      assertClose(actual.values(), expected.values(), TOLERANCE);
    }
  }

  @Test
  void extremeScores() {
    // Scores around +-80 and equal ones.
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 8);
    layer.add(200, 1, AttentionCase.Pages.DENSE, 9f).wantMass();
    layer.add(2000, 1, AttentionCase.Pages.RAGGED, 30f).wantMass();
    Arrays.fill(layer.add(130, 1, AttentionCase.Pages.DENSE, 1f).keys, 3f);
    assertTwin(layer, 2e-4);
  }

  @ParameterizedTest
  @CsvSource({"16", "1", "8"})
  void doesNotDependOnThreadsNorTheBatch(int pageTokens) {
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), pageTokens, KvFormat.BF16, 77);
    for (int tokens : new int[] {1, 700, 17, 300, 1300, 6000, 150}) {
      layer.add(tokens, 1, AttentionCase.Pages.FROZEN, 1f).wantMass();
    }
    layer.write(pool);
    float[] expected = attend(layer, natively(pool));
    float[] mass = layer.masses();
    for (int threads = 1; threads <= 4; threads++) {
      try (WorkerPool threadsPool = new WorkerPool(threads)) {
        for (int repeat = 0; repeat < 20; repeat++) {
          assertThat(attend(layer, natively(threadsPool))).containsExactly(expected);
          assertThat(layer.masses()).containsExactly(mass);
        }
      }
    }
    PagedAttention attention = natively(pool);
    CpuActivations single = layer.output();
    for (AttentionCase.Sequence s : layer.sequences) {
      attention.attend(layer.queries(), layer.shape, layer.memory, List.of(s.segment), single);
    }
    assertThat(single.values()).containsExactly(expected);
    assertThat(layer.masses()).containsExactly(mass);
  }

  @Test
  void massCostsNoAccuracy() {
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 7);
    layer.add(1000, 1, AttentionCase.Pages.DENSE, 1f);
    layer.write(pool);
    float[] without = attend(layer, natively(pool));
    layer.sequences.get(0).wantMass();
    assertThat(attend(layer, natively(pool))).containsExactly(without);
  }

  @ParameterizedTest
  @CsvSource({"16", "1"})
  void brokenKeysShow(int pageTokens) {
    for (float broken : new float[] {Float.NaN, -Float.NaN, Float.POSITIVE_INFINITY}) {
      AttentionCase layer = new AttentionCase(shape(3, 64, 0), pageTokens, KvFormat.BF16, 6);
      AttentionCase.Sequence s = layer.add(1500, 1, AttentionCase.Pages.DENSE, 1f);
      // Of the second KV head.
      Arrays.fill(s.keys, (700 * 2 + 1) * 64, (700 * 2 + 2) * 64, broken);
      s.keys[(700 * 2 + 1) * 64] = Float.NaN;
      layer.write(pool);
      float[] out = attend(layer, natively(pool));
      for (int i = 0; i < out.length; i++) {
        assertThat(Float.isNaN(out[i])).as("element %d", i).isEqualTo(i >= out.length / 2);
      }
    }
  }

  @Test
  void brokenQueriesAndValuesShow() {
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 6);
    AttentionCase.Sequence s = layer.add(30, 1, AttentionCase.Pages.DENSE, 1f);
    s.values[(7 * 2 + 1) * 64 + 5] = Float.NaN;
    s.queries[1] = Float.NaN;
    layer.write(pool);
    float[] out = attend(layer, natively(pool));
    for (int i = 0; i < out.length; i++) {
      boolean broken = i < 64 || i / 64 >= 3 && i % 64 == 5;
      assertThat(Float.isNaN(out[i])).as("element %d", i).isEqualTo(broken);
    }
  }

  @Test
  void rubbishBehindThePagesTokensDoesNotShow() {
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 9);
    AttentionCase.Sequence s = layer.add(500, 1, AttentionCase.Pages.RAGGED, 1f);
    s.wantMass();
    layer.write(pool);
    float[] before = attend(layer, natively(pool));
    for (HeadPages pages : s.segment.heads()) {
      for (int p = 0; p < pages.count; p++) {
        fillUnused(layer, pages.slots[p], pages.tokenCounts[p]);
      }
    }
    assertThat(attend(layer, natively(pool))).containsExactly(before);
  }

  private static void fillUnused(AttentionCase layer, int slot, int tokens) {
    PageLayout layout = layer.layout;
    int[] slab = layer.memory.slab(slot);
    int offset = layer.memory.offset(slot);
    for (int j = 0; j < layout.wordsPerToken(); j++) {
      int row = offset + j * layout.pageTokens();
      Arrays.fill(slab, row + tokens, row + layout.pageTokens(), 0x7fc07fc0);
    }
    int values = offset + layout.valueOffset();
    Arrays.fill(
        slab, values + tokens * layout.wordsPerToken(), offset + layout.wordsPerPage(), 0x7fc07fc0);
  }

  @Test
  void otherPagesGoToTheJavaKernels() {
    assertThat(knows(64, KvFormat.BF16)).isTrue();
    assertThat(knows(64, KvFormat.F32)).isFalse();
    assertThat(knows(16, KvFormat.BF16)).isFalse();
    assertThat(knows(72, KvFormat.BF16)).isFalse();
    assertThat(knows(512, KvFormat.BF16)).isFalse();
    assertThat(knows(128, KvFormat.INT8)).isTrue();
    assertThat(knows(96, KvFormat.INT8)).isFalse();
    assertTwinOf(KvFormat.F32, 64);
    assertTwinOf(KvFormat.BF16, 72);
    assertTwinOf(KvFormat.INT8, 96);
  }

  @Test
  void bytesByQuarters() {
    for (int headSize : new int[] {64, 128, 192, 256}) {
      for (int page : new int[] {1, 5, 8, 16, 24, 40}) {
        for (int group = 1; group <= 9; group++) {
          AttentionCase layer =
              new AttentionCase(shape(group, headSize, group % 3 * 50), page, KvFormat.INT8, group);
          layer.add(333, 1, AttentionCase.Pages.RAGGED, 1f).wantMass();
          layer.add(40 + group, 1, AttentionCase.Pages.FROZEN, 1f).wantMass();
          layer.sequences.forEach(sequence -> roundQueries(sequence.queries, headSize));
          assertTwin(layer, TOLERANCE);
        }
      }
    }
  }

  /**
   * To what the kernel multiplies keys of 8 bits by: whole numbers up to 127 * 128 of a unit, one
   * for the dimensions that share a scale. Rounded again they stay what they are.
   */
  private static void roundQueries(float[] queries, int headSize) {
    for (int head = 0; head < queries.length; head += headSize) {
      for (int group = 0; group < 4; group++) {
        double largest = 0;
        for (int d = 0; d < headSize; d++) {
          if (StoredNumbers.group(d, headSize) == group) {
            largest = Math.max(largest, Math.abs(queries[head + d]));
          }
        }
        for (int d = 0; d < headSize; d++) {
          if (StoredNumbers.group(d, headSize) == group) {
            double unit = largest / (127 * 128);
            queries[head + d] = (float) (Math.rint(queries[head + d] / unit) * unit);
          }
        }
      }
    }
  }

  private static boolean knows(int headSize, KvFormat format) {
    return new NativeDecodeAttention(pool, NativeLibrary.vectorLevel())
        .knows(new PageLayout(headSize, 16, format));
  }

  private static void assertTwinOf(KvFormat format, int headSize) {
    AttentionCase layer = new AttentionCase(shape(3, headSize, 0), 16, format, 1);
    layer.add(300, 1, AttentionCase.Pages.DENSE, 1f).wantMass();
    assertTwin(layer, TOLERANCE);
  }

  @Test
  void pagesOutsideTheMemoryAreRefused() {
    AttentionCase layer = new AttentionCase(shape(3, 64, 0), 16, KvFormat.BF16, 1);
    AttentionCase.Sequence s = layer.add(40, 1, AttentionCase.Pages.DENSE, 1f);
    layer.write(pool);
    HeadPages pages = s.segment.heads()[0];
    int slot = pages.slots[1];
    pages.slots[1] = 1 << 20;
    assertThatThrownBy(() -> attend(layer, natively(pool)))
        .isInstanceOf(IndexOutOfBoundsException.class);
    pages.slots[1] = slot;
    pages.tokenCounts[0] = 17;
    assertThatThrownBy(() -> attend(layer, natively(pool)))
        .isInstanceOf(IndexOutOfBoundsException.class);
  }

  private static AttentionShape shape(int group, int headSize, int window) {
    return new AttentionShape(2 * group, 2, headSize, (float) (1 / Math.sqrt(headSize)), window);
  }

  private static PagedAttention natively(WorkerPool threads) {
    return new PagedAttention(threads, new ScalarAttentionKernels(), NativeLibrary.vectorLevel());
  }

  private static PagedAttention scalar() {
    return new PagedAttention(pool, new ScalarAttentionKernels());
  }

  private static float[] attend(AttentionCase layer, PagedAttention attention) {
    CpuActivations out = layer.output();
    attention.attend(layer.queries(), layer.shape, layer.memory, layer.segments(), out);
    return out.values();
  }

  private static void assertTwin(AttentionCase layer, double tolerance) {
    layer.write(pool);
    float[] expected = attend(layer, scalar());
    float[] expectedMass = layer.masses();
    float[] actual = attend(layer, natively(pool));
    assertClose(actual, expected, tolerance);
    assertClose(layer.masses(), expectedMass, tolerance);
  }

  private static void assertClose(float[] actual, float[] expected, double tolerance) {
    for (int i = 0; i < expected.length; i++) {
      // Negated, so that NaN fails.
      if (!(Math.abs(actual[i] - expected[i]) <= tolerance)) {
        assertThat((double) actual[i])
            .as("element %d", i)
            .isCloseTo(expected[i], within(tolerance));
      }
    }
  }
}
