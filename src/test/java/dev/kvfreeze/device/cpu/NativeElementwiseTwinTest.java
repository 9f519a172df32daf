package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("native-kernels")
class NativeElementwiseTwinTest {
  private final Random random = new Random(21);

  @BeforeEach
  void needsTheNativeKernels() {
    NativeKernelAssumptions.assume();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7, 8, 9, 15, 16, 17, 27, 32, 48, 54, 64})
  void rotatesAsTheScalarKernels(int pairs) {
    ScalarElementwiseKernels scalar = new ScalarElementwiseKernels();
    for (int headSize : new int[] {2 * pairs, 2 * pairs + 2}) {
      for (int rows : new int[] {0, 1, 5}) {
        int columns = 3 * headSize;
        float[] x = gaussian(7 + rows * columns + 20);
        float[] cosines = gaussian(3 + rows * pairs);
        float[] sines = gaussian(3 + rows * pairs);
        float[] twin = x.clone();
        NativeElementwise.rotateNeighbours(x, 7, columns, headSize, rows, cosines, sines, 3, pairs);
        for (int row = 0; row < rows; row++) {
          for (int head = 0; head < 3; head++) {
            int at = 7 + row * columns + head * headSize;
            scalar.rotateNeighbours(twin, at, cosines, sines, 3 + row * pairs, pairs);
          }
        }
        assertThat(x).containsExactly(twin);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(KvFormat.class)
  void writesPagesAsJavaDoes(KvFormat format) {
    for (int headSize : new int[] {2, 6, 12, 30, 32, 34, 54, 64, 72, 128, 256}) {
      for (int pageTokens : new int[] {1, 4, 7, 16, 33}) {
        if (headSize % format.valuesPerWord() != 0) {
          continue;
        }
        int rows = 2 * pageTokens + 3;
        int first = pageTokens / 2;
        float[][] kv = {special(rows * 2 * headSize), special(rows * 2 * headSize)};
        int[][] java = written(format, headSize, pageTokens, first, kv, NativeLevel.NONE);
        int[][] natively =
            written(format, headSize, pageTokens, first, kv, NativeLibrary.vectorLevel());
        for (int page = 0; page < java.length; page++) {
          assertThat(natively[page]).containsExactly(java[page]);
        }
      }
    }
  }

  /** The pages of two heads after rows from a position on were written. */
  private static int[][] written(
      KvFormat format, int headSize, int pageTokens, int first, float[][] kv, NativeLevel level) {
    int rows = kv[0].length / (2 * headSize);
    PageLayout layout = new PageLayout(headSize, pageTokens, format);
    CpuPageMemory memory = new CpuPageMemory(layout, 16L * layout.pageBytes() + (1 << 16));
    int perHead = (first + rows + pageTokens - 1) / pageTokens;
    memory.ensure(2 * perHead);
    HeadPages[] heads = {new HeadPages(), new HeadPages()};
    for (int head = 0; head < 2; head++) {
      heads[head].ensure(perHead);
      heads[head].count = perHead;
      for (int page = 0; page < perHead; page++) {
        heads[head].slots[page] = 2 * page + head;
        heads[head].firstPositions[page] = page * pageTokens;
        heads[head].tokenCounts[page] = Math.min(pageTokens, first + rows - page * pageTokens);
      }
    }
    try (WorkerPool pool = new WorkerPool(2)) {
      new KvWriter(pool, level)
          .write(
              new CpuActivations(rows, 2 * headSize, kv[0]),
              new CpuActivations(rows, 2 * headSize, kv[1]),
              new AttentionShape(2, 2, headSize, 1f, 0),
              memory,
              List.of(new AttentionSegment(0, rows, first, heads)));
    }
    int[][] pages = new int[2 * perHead][layout.wordsPerPage()];
    for (int page = 0; page < pages.length; page++) {
      memory.read(page, pages[page], 0);
    }
    return pages;
  }

  @Test
  void refusesWhatLiesOutside() {
    float[] x = new float[64];
    float[] angles = new float[8];
    assertThatThrownBy(
            () -> NativeElementwise.rotateNeighbours(x, 1, 32, 32, 2, angles, angles, 0, 4))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(
            () -> NativeElementwise.rotateNeighbours(x, 0, 32, 32, 2, angles, angles, 1, 4))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(
            () -> NativeElementwise.rotateNeighbours(x, 0, 32, 6, 1, angles, angles, 0, 3))
        .isInstanceOf(IllegalArgumentException.class);
    PageLayout layout = new PageLayout(32, 4, KvFormat.BF16);
    int[] slab = new int[layout.wordsPerPage()];
    assertThatThrownBy(() -> NativeElementwise.writePage(x, 0, 32, x, 0, 32, 3, layout, slab, 0, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeElementwise.writePage(x, 0, 32, x, 0, 32, 2, layout, slab, 0, 3))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> NativeElementwise.writePage(x, 0, 32, x, 0, 32, 2, layout, slab, 1, 0))
        .isInstanceOf(IndexOutOfBoundsException.class);
  }

  private float[] gaussian(int count) {
    float[] x = new float[count];
    for (int i = 0; i < count; i++) {
      x[i] = (float) random.nextGaussian();
    }
    return x;
  }

  /** With ties, infinities, NaN and denormals among them. */
  private float[] special(int count) {
    float[] x = gaussian(count);
    int[] bits = {
      0x3f80_8000,
      0x3f81_8000,
      0x8000_0000,
      0x7f80_0000,
      0xff80_0000,
      0x7f80_0001,
      0xffff_ffff,
      1,
      0x7f7f_ffff
    };
    for (int i = 0; i < count; i += 3) {
      x[i] = Float.intBitsToFloat(bits[i / 3 % bits.length]);
    }
    return x;
  }
}
