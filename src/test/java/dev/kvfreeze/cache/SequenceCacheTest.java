package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.freeze.FreezePolicies;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.PolicyOptions;
import dev.kvfreeze.freeze.StepKind;
import java.util.HashSet;
import org.junit.jupiter.api.Test;

class SequenceCacheTest {
  private static final PageLayout LAYOUT = new PageLayout(4, 4, KvFormat.F32);
  private static final FreezePolicy WINDOW =
      FreezePolicies.create("window", new PolicyOptions(4, 4, 8, 0.5, 64, 1));

  private final ArrayPageMemory memory = new ArrayPageMemory(LAYOUT, 40);

  private KvCache cache(FreezePolicy policy, long coldPages) {
    ColdStore cold = new HostColdStore(LAYOUT.wordsPerPage(), coldPages * LAYOUT.pageBytes());
    return new KvCache(memory, cold, policy, 2, 1);
  }

  private SequenceModel grow(KvCache cache, int tokens) {
    SequenceModel model = new SequenceModel(cache.open("doc"), memory, 2, 1);
    for (int i = 0; i < tokens; i++) {
      step(model, i);
    }
    return model;
  }

  private static void step(SequenceModel model, int stamp) {
    model.cache.extend(1);
    model.cache.beginStep(StepKind.DECODE);
    model.write(1, stamp + 1);
    model.cache.endStep(StepKind.DECODE);
  }

  @Test
  void windowKeepsSinksAndRecentTokensAndFreesTheRest() {
    KvCache cache = cache(WINDOW, 1000);
    SequenceModel model = grow(cache, 70);
    assertThat(model.cache.pages(1)[0].count).isEqualTo(1 + 3);
    assertThat(model.cache.pages(1)[0].firstPositions).startsWith(0, 60, 64, 68);
    assertThat(model.check(new HashSet<>())).isEqualTo(2 * 14);
    assertThat(model.cache.traffic())
        .isEqualTo(new CacheTraffic(28, 0, 34L * LAYOUT.pageBytes(), 0, 0));
    // A window of 8 tokens lies over at most three pages of 4, the one being written included.
    assertThat(memory.backed).as("the peak of slots").isEqualTo(2 * (1 + 3));
    assertThat(model.cache.warning()).isNull();
  }

  @Test
  void aPolicyThatNeverFreezesPaysForNoBackup() {
    KvCache cache = cache(FreezePolicies.create("full", PolicyOptions.defaults()), 1000);
    SequenceModel model = grow(cache, 70);
    assertThat(model.cache.traffic()).isEqualTo(new CacheTraffic(0, 0, 0, 0, 0));
    assertThat(cache.coldBytes()).isZero();
    assertThat(cache.residentBytes()).isEqualTo(cache.bytesFor(70));
    assertThat(cache.bytesFor(70)).isEqualTo(18L * 2 * LAYOUT.pageBytes());
    assertThat(cache.bytesFor(0)).isZero();
  }

  @Test
  void aRefusedExtensionChangesNothing() {
    KvCache cache = cache(WINDOW, 0);
    SequenceModel model = grow(cache, 78);
    CacheUsage before = model.cache.usage();
    assertThatThrownBy(() -> model.cache.extend(3))
        .isInstanceOf(PoolExhaustedException.class)
        .hasMessageContaining("doc: 3 tokens")
        .hasMessageContaining("the cold store holds 0 of 0 bytes")
        .hasMessageContaining("needs " + 2 * LAYOUT.pageBytes() + " bytes")
        .hasMessageContaining("pool of " + 40 * LAYOUT.pageBytes() + " bytes has 0 free")
        .hasMessageContaining("--set cache.poolBytes");
    assertThat(model.cache.usage()).isEqualTo(before);
    assertThat(model.check(new HashSet<>())).isZero();
    assertThat(model.cache.warning()).startsWith("doc: pages stay on the device unfrozen");
    step(model, 78);
    model.check(new HashSet<>());
  }

  @Test
  void aDeviceThatRefusesMemoryChangesNothing() {
    KvCache cache = cache(WINDOW, 1000);
    memory.backedLimit = 7;
    SequenceModel model = grow(cache, 4);
    assertThatThrownBy(() -> model.cache.extend(16)).isInstanceOf(OutOfMemoryError.class);
    assertThat(cache.residentBytes()).isEqualTo(2L * LAYOUT.pageBytes());
    assertThat(model.check(new HashSet<>())).isZero();
    step(model, 4);
    assertThat(model.check(new HashSet<>())).isZero();
  }

  @Test
  void aFullColdStoreLeavesPagesActiveUntilItHasRoomAgain() {
    KvCache cache = cache(WINDOW, 6);
    SequenceModel first = grow(cache, 12);
    SequenceModel second = grow(cache, 24);
    assertThat(second.cache.usage().frozenPages()).isZero();
    assertThat(second.cache.warning()).contains("cache.coldBytes");
    first.cache.close();
    step(second, 24);
    assertThat(second.cache.usage().frozenPages()).isEqualTo(6);
    second.check(new HashSet<>());
  }

  @Test
  void aClosedSequenceRefusesWorkAndOwnsNothing() {
    KvCache cache = cache(WINDOW, 1000);
    SequenceModel model = grow(cache, 30);
    model.cache.close();
    model.cache.close();
    assertThat(cache.residentBytes()).isZero();
    assertThat(cache.coldBytes()).isZero();
    CacheUsage usage = model.cache.usage();
    assertThat(usage)
        .isEqualTo(
            new CacheUsage(0, 0, 0, 0, 0, 0, usage.peakActiveTokens(), usage.peakResidentBytes()));
    assertThatThrownBy(() -> model.cache.extend(1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("doc");
  }

  @Test
  void poolNoticesASlotReleasedTwice() {
    PagePool pool = new PagePool(memory);
    int slot = pool.acquire();
    pool.acquire();
    pool.release(slot);
    assertThatThrownBy(() -> pool.release(slot)).isInstanceOf(IllegalStateException.class);
    assertThat(pool.usedPages()).isEqualTo(1);
    assertThat(pool.freePages()).isEqualTo(39);
    assertThat(pool.acquire()).as("last returned, first used").isEqualTo(slot);
  }
}
