package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.cpu.CpuPageMemory;
import dev.kvfreeze.freeze.StepKind;
import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The pages of the real CPU device keep their bits through the cold store. */
class CpuPagesTest {
  @ParameterizedTest
  @CsvSource({"1, BF16", "7, BF16", "16, F32"})
  void thawedPagesAreBitEqual(int pageTokens, KvFormat format) {
    PageLayout layout = new PageLayout(64, pageTokens, format);
    PageMemory memory = new CpuPageMemory(layout, 600L * layout.pageBytes());
    ColdStore cold = new HostColdStore(layout.wordsPerPage(), 1L << 26);
    Map<Integer, int[]> written = new HashMap<>();
    SplittableRandom random = new SplittableRandom(pageTokens);
    try (KvCache cache = new KvCache(memory, cold, new RandomPolicy(5), 1, 1)) {
      SequenceCache sequence = cache.open("doc");
      int[] read = new int[layout.wordsPerPage()];
      for (int page = 0; page < 500; page++) {
        sequence.extend(pageTokens);
        sequence.beginStep(StepKind.DECODE);
        HeadPages pages = sequence.pages(0)[0];
        int[] words = random.ints(layout.wordsPerPage()).toArray();
        memory.write(pages.slots[pages.count - 1], words, 0);
        written.put(page * pageTokens, words);
        sequence.endStep(StepKind.DECODE);
        for (int i = 0; i < pages.count; i++) {
          memory.read(pages.slots[i], read, 0);
          assertThat(read).isEqualTo(written.get(pages.firstPositions[i]));
        }
      }
      assertThat(sequence.traffic().thawedPages()).isGreaterThan(50);
      assertThat(memory.allocatedBytes()).isLessThanOrEqualTo(600L * layout.pageBytes());
    }
  }
}
