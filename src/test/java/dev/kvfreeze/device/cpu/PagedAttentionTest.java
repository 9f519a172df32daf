package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.model.AttentionShape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Paged attention, scalar and vector, against the dense softmax in float64. */
class PagedAttentionTest {
  private static final int[] CONTEXTS = {1, 7, 15, 16, 17, 54, 97, 1000};
  private static final int[] ROWS = {1, 7, 33, 97};
  private static final int[] HEAD_SIZES = {64, 80, 96, 128, 256};
  private static final int[] GROUPS = {1, 3, 4, 7};
  private static final int[] PAGES = {1, 8, 16, 5, 40};

  private static WorkerPool pool;

  @BeforeAll
  static void start() {
    pool = new WorkerPool(2);
  }

  @AfterAll
  static void stop() {
    pool.close();
  }

  /** Every context with every row count and page size; the other dimensions take turns. */
  static Stream<Arguments> cases() {
    List<Arguments> cases = new ArrayList<>();
    int turn = 0;
    for (int context : CONTEXTS) {
      for (int rows : ROWS) {
        for (int page : PAGES) {
          if (rows > context) {
            continue;
          }
          int headSize = HEAD_SIZES[turn % HEAD_SIZES.length];
          int group = GROUPS[turn / 2 % GROUPS.length];
          KvFormat format = turn % 3 == 2 ? KvFormat.F32 : KvFormat.BF16;
          AttentionCase.Pages kind = AttentionCase.Pages.values()[turn % 7 % 3];
          int window = turn % 5 == 3 ? 20 : turn % 5 == 4 ? 300 : 0;
          if (context == 1000 && headSize == 256) {
            headSize = 64;
          }
          cases.add(Arguments.of(context, rows, page, headSize, group, format, kind, window));
          turn++;
        }
      }
    }
    return cases.stream();
  }

  @ParameterizedTest(name = "{0} tokens, {1} rows, pages {2}, head {3} x {4}, {5} {6}, window {7}")
  @MethodSource("cases")
  void equalsDenseSoftmax(
      int context,
      int rows,
      int page,
      int headSize,
      int group,
      KvFormat format,
      AttentionCase.Pages kind,
      int window) {
    AttentionShape shape =
        new AttentionShape(2 * group, 2, headSize, (float) (1 / Math.sqrt(headSize)), window);
    AttentionCase layer = new AttentionCase(shape, page, format, 31 * context + rows);
    layer.add(context, rows, kind, 1f).wantMass();
    layer.write(pool);
    assertDense(layer, new ScalarAttentionKernels(), 2e-5);
    assertDense(layer, new VectorAttentionKernels(), 2e-5);
  }

  @Test
  void headsTooSmallForARegister() {
    AttentionShape shape = new AttentionShape(4, 2, 8, 0.35f, 0);
    for (KvFormat format : KvFormat.values()) {
      AttentionCase layer = new AttentionCase(shape, 4, format, 5);
      layer.add(77, 1, AttentionCase.Pages.DENSE, 1f).wantMass();
      layer.add(77, 9, AttentionCase.Pages.FROZEN, 1f).wantMass();
      layer.write(pool);
      assertDense(layer, new VectorAttentionKernels(), 2e-5);
    }
  }

  @Test
  void extremeScores() {
    // Queries and keys of magnitude 9 in 64 dimensions at scale 1/8 give scores around +-80.
    AttentionShape shape = new AttentionShape(6, 2, 64, 0.125f, 0);
    AttentionCase layer = new AttentionCase(shape, 16, KvFormat.BF16, 8);
    layer.add(200, 1, AttentionCase.Pages.DENSE, 9f).wantMass();
    layer.add(200, 40, AttentionCase.Pages.RAGGED, 9f).wantMass();
    AttentionCase.Sequence same = layer.add(130, 1, AttentionCase.Pages.DENSE, 1f);
    AttentionCase.Sequence sameRows = layer.add(130, 8, AttentionCase.Pages.DENSE, 1f);
    Arrays.fill(same.keys, 3f);
    Arrays.fill(sameRows.keys, 3f);
    layer.write(pool);
    assertDense(layer, new ScalarAttentionKernels(), 2e-4);
    assertDense(layer, new VectorAttentionKernels(), 2e-4);
  }

  @Test
  void doesNotDependOnThreads() {
    AttentionCase layer = mixed(true);
    float[] one = null;
    float[] mass = null;
    for (int threads = 1; threads <= 3; threads++) {
      try (WorkerPool threadsPool = new WorkerPool(threads)) {
        float[] out = attend(layer, threadsPool, new VectorAttentionKernels());
        float[] masses = layer.masses();
        assertThat(out).containsExactly(one == null ? out : one);
        assertThat(masses).containsExactly(mass == null ? masses : mass);
        one = out;
        mass = masses;
      }
    }
  }

  @Test
  void doesNotDependOnTheBatch() {
    AttentionCase layer = mixed(true);
    PagedAttention attention = new PagedAttention(pool, new VectorAttentionKernels());
    CpuActivations batch = layer.output();
    attention.attend(layer.queries(), layer.shape, layer.memory, layer.segments(), batch);
    float[] mass = layer.masses();
    CpuActivations single = layer.output();
    for (AttentionCase.Sequence s : layer.sequences) {
      attention.attend(layer.queries(), layer.shape, layer.memory, List.of(s.segment), single);
    }
    assertThat(single.values()).containsExactly(batch.values());
    assertThat(layer.masses()).containsExactly(mass);
  }

  @Test
  void massCostsNoAccuracy() {
    float[] with = attend(mixed(true), pool, new VectorAttentionKernels());
    float[] without = attend(mixed(false), pool, new VectorAttentionKernels());
    assertThat(with).containsExactly(without);
  }

  @Test
  void massSumsToOne() {
    AttentionCase layer = mixed(true);
    attend(layer, pool, new VectorAttentionKernels());
    for (AttentionCase.Sequence s : layer.sequences) {
      for (HeadPages pages : s.segment.heads()) {
        double sum = 0;
        for (int p = 0; p < pages.count; p++) {
          sum += pages.mass[p];
        }
        assertThat(sum).isCloseTo(1, within(1e-5));
      }
    }
  }

  private static AttentionCase mixed(boolean wantMass) {
    AttentionShape shape = new AttentionShape(9, 3, 64, 0.125f, 0);
    AttentionCase layer = new AttentionCase(shape, 16, KvFormat.BF16, 77);
    int[][] sizes = {{1, 1}, {700, 1}, {17, 1}, {300, 97}, {1300, 1}, {150, 7}};
    for (int[] size : sizes) {
      AttentionCase.Sequence s = layer.add(size[0], size[1], AttentionCase.Pages.FROZEN, 1f);
      if (wantMass) {
        s.wantMass();
      }
    }
    layer.write(pool);
    return layer;
  }

  private static float[] attend(AttentionCase layer, WorkerPool threads, AttentionKernels kernels) {
    CpuActivations out = layer.output();
    new PagedAttention(threads, kernels)
        .attend(layer.queries(), layer.shape, layer.memory, layer.segments(), out);
    return out.values();
  }

  private static void assertDense(AttentionCase layer, AttentionKernels kernels, double tolerance) {
    float[] out = attend(layer, pool, kernels);
    AttentionShape shape = layer.shape;
    for (AttentionCase.Sequence s : layer.sequences) {
      for (int kvHead = 0; kvHead < shape.kvHeads(); kvHead++) {
        HeadPages pages = s.segment.heads()[kvHead];
        double[] mass = new double[pages.count];
        for (int g = 0; g < shape.groupSize(); g++) {
          int head = kvHead * shape.groupSize() + g;
          for (int row = 0; row < s.rowCount; row++) {
            double[] expected = s.dense(row, head, mass);
            int at = ((s.firstRow + row) * shape.heads() + head) * shape.headSize();
            for (int d = 0; d < expected.length; d++) {
              assertThat((double) out[at + d])
                  .as("%s, row %d, head %d, dimension %d", kernels.getClass(), row, head, d)
                  .isCloseTo(expected[d], within(tolerance));
            }
          }
        }
        if (pages.wantMass) {
          for (int p = 0; p < pages.count; p++) {
            double share = mass[p] / (s.rowCount * shape.groupSize());
            assertThat((double) pages.mass[p]).as("page %d", p).isCloseTo(share, within(tolerance));
          }
        }
      }
    }
  }
}
