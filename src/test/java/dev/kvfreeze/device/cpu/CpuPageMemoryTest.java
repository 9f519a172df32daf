package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class CpuPageMemoryTest {
  @Test
  void takesMemoryAsItIsUsed() {
    PageLayout layout = new PageLayout(64, 16, KvFormat.BF16);
    CpuPageMemory memory = new CpuPageMemory(layout, 64L << 20);
    assertThat(memory.capacity()).isEqualTo((64 << 20) / layout.pageBytes());
    assertThat(memory.allocatedBytes()).isZero();
    memory.ensure(1);
    long first = memory.allocatedBytes();
    assertThat(first).isBetween((long) layout.pageBytes(), 8L << 20);
    memory.ensure(1);
    assertThat(memory.allocatedBytes()).isEqualTo(first);
    memory.ensure(memory.capacity());
    assertThat(memory.allocatedBytes()).isEqualTo((long) memory.capacity() * layout.pageBytes());
  }

  @Test
  void keepsEveryPageToTheBit() {
    for (int pageTokens : new int[] {1, 5, 8, 16}) {
      PageLayout layout = new PageLayout(80, pageTokens, KvFormat.F32);
      int pages = 3 * (1 << 20) / layout.wordsPerPage() + 7;
      CpuPageMemory memory = new CpuPageMemory(layout, (long) pages * layout.pageBytes());
      memory.ensure(pages);
      Random random = new Random(pageTokens);
      int[] words = random.ints((long) 2 * layout.wordsPerPage()).toArray();
      // NaN patterns must survive too.
      words[3] = 0x7f80_0001;
      words[4] = 0xffc1_2345;
      int[] back = new int[layout.wordsPerPage() + 2];
      for (int slot = 0; slot < pages; slot += Math.max(1, pages / 97)) {
        memory.write(slot, words, slot % layout.wordsPerPage());
      }
      for (int slot = 0; slot < pages; slot += Math.max(1, pages / 97)) {
        memory.read(slot, back, 1);
        int from = slot % layout.wordsPerPage();
        for (int i = 0; i < layout.wordsPerPage(); i++) {
          assertThat(back[1 + i]).isEqualTo(words[from + i]);
        }
      }
    }
  }

  @Test
  void manyPagesAreCopiedToTheirSlotsOnAllThreads() {
    PageLayout layout = new PageLayout(64, 16, KvFormat.BF16);
    int words = layout.wordsPerPage();
    int pages = 2 * (1 << 20) / words + 7;
    int[] source = new Random(7).ints((long) pages * words).toArray();
    for (int threads = 1; threads <= 3; threads++) {
      try (WorkerPool pool = new WorkerPool(threads)) {
        CpuPageMemory memory = new CpuPageMemory(layout, (long) pages * layout.pageBytes(), pool);
        memory.ensure(pages);
        for (int count : new int[] {0, 1, 31, 32, 33, pages}) {
          int[] slots = new int[pages];
          int[][] sources = new int[pages][];
          int[] offsets = new int[pages];
          for (int i = 0; i < count; i++) {
            slots[i] = (i * 7 + count) % pages;
            sources[i] = source;
            offsets[i] = i * words;
          }
          memory.write(count, slots, sources, offsets);
          int[] back = new int[words];
          for (int i = 0; i < count; i++) {
            memory.read(slots[i], back, 0);
            assertThat(Arrays.equals(back, 0, words, source, i * words, (i + 1) * words)).isTrue();
          }
        }
      }
    }
  }

  @Test
  void refusesWhatCannotFit() {
    PageLayout layout = new PageLayout(64, 16, KvFormat.BF16);
    assertThatThrownBy(() -> new CpuPageMemory(layout, layout.pageBytes() - 1L))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("give the pool more memory");
    CpuPageMemory memory = new CpuPageMemory(layout, 10L * layout.pageBytes());
    assertThatThrownBy(() -> memory.ensure(11)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void namesTheRemedyWhenTheHeapIsFull() {
    PageLayout layout = new PageLayout(64, 16, KvFormat.BF16);
    OutOfMemoryError cause = new OutOfMemoryError("Java heap space");
    int[] slabsLeft = {2};
    CpuPageMemory memory =
        new CpuPageMemory(
            layout,
            100L << 20,
            size -> {
              if (slabsLeft[0]-- == 0) {
                throw cause;
              }
              return new int[size];
            });
    assertThatThrownBy(() -> memory.ensure(memory.capacity()))
        .isInstanceOf(OutOfMemoryError.class)
        .hasCause(cause)
        .hasMessageContaining("-Xmx")
        .hasMessageContaining(Long.toString(100L << 20));
    // What was taken before can be used.
    long taken = memory.allocatedBytes();
    assertThat(taken).isPositive();
    memory.ensure((int) (taken / layout.pageBytes()));
    assertThat(memory.allocatedBytes()).isEqualTo(taken);
  }

  @Test
  void closesTwice() {
    PageLayout layout = new PageLayout(64, 16, KvFormat.BF16);
    CpuPageMemory memory = new CpuPageMemory(layout, 1 << 20);
    memory.ensure(3);
    memory.close();
    memory.close();
    assertThat(memory.allocatedBytes()).isZero();
    assertThatThrownBy(() -> memory.ensure(1)).isInstanceOf(IllegalStateException.class);
  }
}
