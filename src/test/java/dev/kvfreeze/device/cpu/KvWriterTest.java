package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class KvWriterTest {
  @Test
  void roundsToNearestEven() {
    assertThat(Bfloat16.bits(1f)).isEqualTo(0x3f80);
    assertThat(Bfloat16.bits(Float.intBitsToFloat(0x3f80_8000))).isEqualTo(0x3f80);
    assertThat(Bfloat16.bits(Float.intBitsToFloat(0x3f81_8000))).isEqualTo(0x3f82);
    assertThat(Bfloat16.bits(Float.intBitsToFloat(0x3f80_8001))).isEqualTo(0x3f81);
    assertThat(Bfloat16.bits(-0f)).isEqualTo(0x8000);
    assertThat(Bfloat16.bits(Float.MAX_VALUE)).isEqualTo(0x7f80);
    assertThat(Bfloat16.bits(Float.NEGATIVE_INFINITY)).isEqualTo(0xff80);
    assertThat(Bfloat16.low(Bfloat16.bits(Float.NaN))).isNaN();
    assertThat(Bfloat16.low(Bfloat16.bits(Float.intBitsToFloat(0x7f80_0001)))).isNaN();
    assertThat(Bfloat16.low(Bfloat16.bits(Float.intBitsToFloat(0xffff_ffff)))).isNaN();
    assertThat(Bfloat16.low(Bfloat16.bits(Float.MIN_VALUE))).isZero();
  }

  @Test
  void laysPagesOutAsPageLayoutSays() {
    AttentionShape shape = new AttentionShape(2, 2, 6, 1f, 0);
    for (KvFormat format : new KvFormat[] {KvFormat.BF16, KvFormat.F32}) {
      PageLayout layout = new PageLayout(6, 4, format);
      CpuPageMemory memory = new CpuPageMemory(layout, 1 << 16);
      memory.ensure(4);
      CpuActivations keys = random(3, 12, 1);
      CpuActivations values = random(3, 12, 2);
      // Rows 1 and 2 are positions 6 and 7: tokens 2 and 3 of the page that begins at 4.
      HeadPages[] heads = {page(3, 4, 4), page(1, 4, 4)};
      try (WorkerPool pool = new WorkerPool(1)) {
        new KvWriter(pool, NativeLevel.NONE)
            .write(keys, values, shape, memory, List.of(new AttentionSegment(1, 2, 6, heads)));
      }
      int words = layout.wordsPerToken();
      for (int head = 0; head < 2; head++) {
        int[] page = new int[layout.wordsPerPage()];
        memory.read(heads[head].slots[0], page, 0);
        for (int token = 0; token < 4; token++) {
          for (int j = 0; j < words; j++) {
            int row = (token - 1) * 12 + head * 6 + j;
            boolean own = token >= 2;
            assertThat(page[j * 4 + token])
                .isEqualTo(own ? word(keys.values(), row, words, format) : 0);
            assertThat(page[4 * words + token * words + j])
                .isEqualTo(own ? word(values.values(), row, words, format) : 0);
          }
        }
      }
    }
  }

  @Test
  void bytesLieByQuartersWithTheScalesOfTheirWords() {
    AttentionShape shape = new AttentionShape(2, 2, 16, 1f, 0);
    PageLayout layout = new PageLayout(16, 4, KvFormat.INT8);
    assertThat(layout.wordsPerToken()).isEqualTo(6);
    CpuPageMemory memory = new CpuPageMemory(layout, 1 << 16);
    memory.ensure(2);
    CpuActivations keys = random(2, 32, 1);
    CpuActivations values = random(2, 32, 2);
    keys.values()[35] = -1000;
    for (int zero : new int[] {32, 36, 40, 44}) {
      values.values()[zero] = 0;
    }
    try (WorkerPool pool = new WorkerPool(1)) {
      HeadPages[] heads = {page(0, 4, 4), page(1, 4, 4)};
      new KvWriter(pool, NativeLevel.NONE)
          .write(keys, values, shape, memory, List.of(new AttentionSegment(1, 1, 6, heads)));
    }
    int[] page = new int[layout.wordsPerPage()];
    for (int head = 0; head < 2; head++) {
      memory.read(head, page, 0);
      for (int d = 0; d < 16; d++) {
        int at = 32 + 16 * head + d;
        // Token 2; dimension d is byte d / 4 of word d % 4, each with a scale behind the words.
        int group = d % 4;
        int valuesAt = layout.valueOffset() + 2 * 6;
        int keyScales = page[(4 + group / 2) * 4 + 2];
        assertByte(keys.values(), at, page[group * 4 + 2], keyScales, d);
        assertByte(values.values(), at, page[valuesAt + group], page[valuesAt + 4 + group / 2], d);
        float key = StoredNumbers.of(keys.values(), 16, KvFormat.INT8)[at];
        float value = StoredNumbers.of(values.values(), 16, KvFormat.INT8)[at];
        assertThat(layout.key(page, 0, 2, d)).isEqualTo(key);
        assertThat(layout.value(page, 0, 2, d)).isEqualTo(value);
        // Half a step, and what rounding the scale may cut off the largest.
        float step = StoredNumbers.scale(keys.values(), at, 16);
        assertThat(key).isCloseTo(keys.values()[at], within(0.76f * step));
      }
    }
  }

  private static void assertByte(float[] x, int at, int word, int scales, int dimension) {
    assertThat(word << 24 - 8 * (dimension / 4) >> 24).isEqualTo(StoredNumbers.number(x, at, 16));
    float scale = dimension % 2 == 0 ? Bfloat16.low(scales) : Bfloat16.high(scales);
    assertThat(scale).isEqualTo(StoredNumbers.scale(x, at, 16));
  }

  @Test
  void refusesPositionsWithoutAPage() {
    AttentionShape shape = new AttentionShape(1, 1, 6, 1f, 0);
    CpuPageMemory memory = new CpuPageMemory(new PageLayout(6, 4, KvFormat.BF16), 1 << 16);
    memory.ensure(4);
    CpuActivations rows = random(9, 6, 1);
    try (WorkerPool pool = new WorkerPool(1)) {
      KvWriter writer = new KvWriter(pool, NativeLevel.NONE);
      for (int[] span : new int[][] {{3, 1}, {8, 1}, {6, 9}}) {
        HeadPages[] heads = {page(0, 4, 4)};
        List<AttentionSegment> segments = List.of(new AttentionSegment(0, span[1], span[0], heads));
        assertThatThrownBy(() -> writer.write(rows, rows, shape, memory, segments))
            .isInstanceOf(IllegalStateException.class)
            .hasMessageContaining("covers position");
      }
    }
  }

  private static int word(float[] x, int at, int words, KvFormat format) {
    return format == KvFormat.F32
        ? Float.floatToRawIntBits(x[at])
        : Bfloat16.bits(x[at]) | Bfloat16.bits(x[at + words]) << 16;
  }

  private static HeadPages page(int slot, int firstPosition, int tokens) {
    HeadPages pages = new HeadPages();
    pages.count = 1;
    pages.slots[0] = slot;
    pages.firstPositions[0] = firstPosition;
    pages.tokenCounts[0] = tokens;
    return pages;
  }

  private static CpuActivations random(int rows, int columns, long seed) {
    CpuActivations x = CpuActivations.allocate(rows, columns);
    Random random = new Random(seed);
    for (int i = 0; i < rows * columns; i++) {
      x.values()[i] = (float) random.nextGaussian();
    }
    return x;
  }
}
