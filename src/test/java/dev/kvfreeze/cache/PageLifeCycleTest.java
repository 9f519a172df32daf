package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.freeze.StepKind;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Thousands of random operations on several sequences of one cache, against a plain model. */
class PageLifeCycleTest {
  private static final int LAYERS = 2;
  private static final int HEADS = 3;

  @TempDir Path directory;

  /** Cold pages: fewer than needed in some rows, so that pages must stay active. */
  @ParameterizedTest
  @CsvSource({
    "1, 400, 100000, host, 1",
    "1, 400, 100000, spill, 2",
    "4, 300, 100000, host, 3",
    "7, 120, 100000, spill, 4",
    "16, 60, 100000, host, 5",
    "4, 300, 90, host, 6",
    "1, 400, 150, spill, 7",
    "7, 24, 100000, host, 8",
  })
  void everyPageKeepsItsBits(int pageTokens, int capacity, int coldPages, String store, long seed) {
    PageLayout layout = new PageLayout(4, pageTokens, KvFormat.F32);
    ArrayPageMemory memory = new ArrayPageMemory(layout, capacity);
    long coldBytes = (long) coldPages * layout.pageBytes();
    ColdStore cold =
        store.equals("host")
            ? new HostColdStore(layout.wordsPerPage(), coldBytes)
            : new SpillColdStore(directory, layout.wordsPerPage(), coldBytes);
    KvCache cache = new KvCache(memory, cold, new RandomPolicy(seed), LAYERS, HEADS);
    SplittableRandom random = new SplittableRandom(seed);
    List<SequenceModel> open = new ArrayList<>();
    int stamp = 1;
    int refused = 0;
    long moved = 0;
    for (int step = 0; step < 3000; step++) {
      int choice = random.nextInt(100);
      if (open.isEmpty() || choice < 2 && open.size() < 4) {
        open.add(new SequenceModel(cache.open("doc" + step), memory, LAYERS, HEADS));
      }
      SequenceModel sequence = open.get(random.nextInt(open.size()));
      if (choice < 80) {
        StepKind kind = choice < 10 ? StepKind.PREFILL : StepKind.DECODE;
        int tokens = kind == StepKind.PREFILL ? 1 + random.nextInt(3 * pageTokens + 2) : 1;
        try {
          sequence.cache.extend(tokens);
          sequence.cache.beginStep(kind);
          sequence.write(tokens, stamp);
          stamp += tokens;
          sequence.cache.endStep(kind);
        } catch (PoolExhaustedException e) {
          refused++;
        }
      } else if (choice < 96) {
        int length = sequence.length();
        try {
          sequence.truncate(Math.max(0, length - random.nextInt(2 * pageTokens + 2)));
        } catch (PoolExhaustedException e) {
          refused++;
          assertThat(sequence.length()).isEqualTo(length);
        }
      } else if (choice < 98) {
        CacheTraffic traffic = sequence.cache.traffic();
        moved += Math.min(traffic.frozenPages(), traffic.thawedPages());
        sequence.cache.close();
        sequence.cache.close();
        open.remove(sequence);
      }
      check(cache, cold, memory, open, random);
    }
    assertThat(moved).as("pages that went both ways").isPositive();
    assertThat(refused).as("extensions and rewinds refused").isLessThan(2400);
    List.copyOf(open).forEach(sequence -> sequence.cache.close());
    assertThat(cache.residentBytes()).isZero();
    assertThat(cache.coldBytes()).isZero();
    cache.close();
    assertThat(memory.closed).isTrue();
  }

  private static void check(
      KvCache cache,
      ColdStore cold,
      ArrayPageMemory memory,
      List<SequenceModel> open,
      SplittableRandom random) {
    Set<Integer> owned = new HashSet<>();
    long coldBytes = 0;
    for (SequenceModel sequence : open) {
      long frozen = sequence.check(owned);
      CacheUsage usage = sequence.cache.usage();
      assertThat(usage.coldBytes()).isGreaterThanOrEqualTo(frozen * memory.layout().pageBytes());
      coldBytes += usage.coldBytes();
    }
    assertThat(cache.residentBytes()).isEqualTo((long) owned.size() * memory.layout().pageBytes());
    assertThat(cache.coldBytes()).isEqualTo(coldBytes).isLessThanOrEqualTo(cold.limitBytes());
    // Another document may overwrite a slot that nobody owns: so does this test.
    for (int slot = 0; slot < memory.backed; slot++) {
      if (!owned.contains(slot)) {
        memory.words[memory.at(slot) + random.nextInt(memory.layout().wordsPerPage())] = -1;
      }
    }
  }
}
