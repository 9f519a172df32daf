package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.freeze.CacheShape;
import dev.kvfreeze.freeze.ExpectedLengths;
import dev.kvfreeze.freeze.FreezePolicy;
import dev.kvfreeze.freeze.HeadView;
import dev.kvfreeze.freeze.PageMover;
import dev.kvfreeze.freeze.SequencePolicy;
import dev.kvfreeze.freeze.StepKind;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** While a prompt passes through, the next layer's pages come in before the present one is done. */
class PrefetchTest {
  private static final PageLayout LAYOUT = new PageLayout(4, 4, KvFormat.F32);
  private static final int LAYERS = 3;
  private static final int KV_HEADS = 2;
  private static final int CHUNK = 10;

  private MovingColdStore cold;
  private ArrayPageMemory memory;
  private KvCache cache;
  private SequenceCache sequence;

  private void open(int poolPages) {
    memory = new ArrayPageMemory(LAYOUT, poolPages);
    cold = new MovingColdStore(new HostColdStore(LAYOUT.wordsPerPage(), 1 << 20));
    cache = new KvCache(memory, cold, new Streaming(), LAYERS, KV_HEADS);
    sequence = cache.open("doc");
  }

  /** A chunk through all layers; returns how many pages came in early, by layer. */
  private int[] read(int firstVisible) {
    int[] early = new int[LAYERS];
    sequence.extend(CHUNK, StepKind.PREFILL);
    sequence.beginStep(StepKind.PREFILL);
    for (int layer = 0; layer < LAYERS; layer++) {
      sequence.openLayer(layer, firstVisible);
      if (layer + 1 < LAYERS) {
        int before = cold.loads;
        sequence.prefetchLayer(layer + 1, firstVisible);
        early[layer + 1] = cold.loads - before;
      }
      for (int head = 0; head < KV_HEADS; head++) {
        writeAndCheck(layer, head, firstVisible);
      }
      sequence.closeLayer(layer, StepKind.PREFILL);
    }
    sequence.endStep(StepKind.PREFILL);
    return early;
  }

  /** Each page's first word says whose it is; those of earlier chunks must still say so. */
  private void writeAndCheck(int layer, int head, int firstVisible) {
    HeadPages pages = sequence.pages(layer)[head];
    int firstNew = sequence.length() - CHUNK;
    int firstPage = firstVisible / 4;
    assertThat(pages.count).isEqualTo((sequence.length() + 3) / 4 - firstPage);
    for (int i = 0; i < pages.count; i++) {
      int stamp = (layer * KV_HEADS + head) * 1000 + pages.firstPositions[i] + 1;
      int at = memory.at(pages.slots[i]);
      if (pages.firstPositions[i] >= firstNew) {
        memory.words[at] = stamp;
      } else {
        assertThat(memory.words[at]).isEqualTo(stamp);
      }
    }
  }

  @Test
  void theNextLayerComesInWhileThePresentOneIsOpen() {
    open(100);
    assertThat(read(0)).containsOnly(0);
    // Two full pages a head are cold, the third is not full and never left.
    assertThat(read(0)).containsExactly(0, 2 * KV_HEADS, 2 * KV_HEADS);
    assertThat(read(0)).containsExactly(0, 5 * KV_HEADS, 5 * KV_HEADS);
    // Layer 0 when it was opened, and each page once.
    assertThat(cold.loads).isEqualTo((2 + 5) * KV_HEADS * LAYERS);
    assertThat(cache.pool.usedPages()).isEqualTo(KV_HEADS * LAYERS);
  }

  @Test
  void pagesBeforeTheWindowStayOut() {
    open(100);
    read(0);
    read(0);
    assertThat(read(9)).containsExactly(0, 3 * KV_HEADS, 3 * KV_HEADS);
  }

  @ParameterizedTest
  @CsvSource({"22", "26", "31", "40"})
  void aSmallPoolReadsTheSameWithWhatFits(int poolPages) {
    open(poolPages);
    for (int chunk = 0; chunk < 3; chunk++) {
      read(0);
    }
    assertThat(memory.backed).isLessThanOrEqualTo(poolPages);
    sequence.close();
    assertThat(cache.pool.usedPages()).isZero();
  }

  @Test
  void slotsNeverUsedBeforeAreLeftToSketchesOnceHalfOfThePoolIsUsed() {
    open(100);
    PagePool pool = cache.pool;
    int[] slots = pool.acquire(50);
    assertThat(pool.acquireSpare()).isEqualTo(-1);
    pool.release(slots[7]);
    assertThat(pool.acquireSpare()).isEqualTo(slots[7]);
    assertThat(pool.acquireSpare()).isEqualTo(-1);
  }

  @Test
  void withoutMovesBesideTheComputingNothingComesEarly() {
    open(100);
    cold.beside = false;
    read(0);
    assertThat(read(0)).containsOnly(0);
  }

  /** Counts the pages that come back. */
  private static final class MovingColdStore implements ColdStore {
    private final ColdStore store;
    boolean beside = true;
    int loads;

    MovingColdStore(ColdStore store) {
      this.store = store;
    }

    @Override
    public boolean movesBesideComputing() {
      return beside;
    }

    @Override
    public long store(int[] words, int offset) {
      return store.store(words, offset);
    }

    @Override
    public void load(long handle, int[] words, int offset) {
      throw new AssertionError("pages come into slots");
    }

    @Override
    public void load(long handle, PageMemory memory, int slot, int[] staging) {
      loads++;
      Arrays.fill(staging, -1);
      store.load(handle, memory, slot, staging);
    }

    @Override
    public void release(long handle) {
      store.release(handle);
    }

    @Override
    public long bytes() {
      return store.bytes();
    }

    @Override
    public long limitBytes() {
      return store.limitBytes();
    }

    @Override
    public void close() {
      store.close();
    }
  }

  /** Every prompt passes through; nothing is ever thawed. */
  private static final class Streaming implements FreezePolicy {
    @Override
    public String name() {
      return "streaming";
    }

    @Override
    public boolean wantsMass(StepKind kind) {
      return false;
    }

    @Override
    public SequencePolicy sequence(CacheShape shape) {
      return new SequencePolicy() {
        @Override
        public boolean streams(int tokens) {
          return true;
        }

        @Override
        public void step(int head, StepKind kind, HeadView view, PageMover mover) {}
      };
    }

    @Override
    public int peakActiveTokens(ExpectedLengths lengths, CacheShape shape) {
      return lengths.total();
    }
  }
}
