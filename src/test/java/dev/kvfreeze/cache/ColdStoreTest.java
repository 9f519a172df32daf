package dev.kvfreeze.cache;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.cpu.CpuPageMemory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ColdStoreTest {
  @TempDir Path directory;

  private ColdStore open(String kind, int words, long limitBytes) {
    return kind.equals("host")
        ? new HostColdStore(words, limitBytes)
        : new SpillColdStore(directory, words, limitBytes);
  }

  /** Page sizes around the spill buffer's and the slab's, of 1 MiB. */
  @ParameterizedTest
  @CsvSource({
    "host, 1", "host, 54", "host, 1024", "host, 262143", "host, 262145",
    "spill, 1", "spill, 54", "spill, 1024", "spill, 262143", "spill, 262145",
  })
  void loadsTheBitsItWasGiven(String kind, int words) {
    SplittableRandom random = new SplittableRandom(words);
    int most = Math.min(700, 4_000_000 / words);
    try (ColdStore store = open(kind, words, 4L * words * most)) {
      List<Long> handles = new ArrayList<>();
      List<int[]> contents = new ArrayList<>();
      for (int step = 0; step < 6 * most; step++) {
        if (handles.size() < most && random.nextInt(3) > 0) {
          int[] page = random.ints(words + 2L).toArray();
          handles.add(store.store(page, 1));
          contents.add(Arrays.copyOfRange(page, 1, words + 1));
        } else if (!handles.isEmpty()) {
          int i = random.nextInt(handles.size());
          int[] page = new int[words + 3];
          store.load(handles.get(i), page, 2);
          assertThat(Arrays.equals(page, 2, words + 2, contents.get(i), 0, words)).isTrue();
          assertThat(page[0] | page[1] | page[words + 2]).isZero();
          if (random.nextInt(3) > 0) {
            store.release(handles.remove(i));
            contents.remove(i);
          }
        }
        assertThat(handles).doesNotHaveDuplicates();
        assertThat(store.bytes()).isEqualTo(4L * words * handles.size());
      }
    }
  }

  /** Between the store and slots of a device, one by one and many together. */
  @ParameterizedTest
  @CsvSource({"host, 1", "host, 16", "spill, 1", "spill, 16"})
  void pagesMoveBetweenSlotsAndTheStoreToTheBit(String kind, int pageTokens) {
    PageLayout layout = new PageLayout(64, pageTokens, KvFormat.BF16);
    int words = layout.wordsPerPage();
    int pages = 700;
    SplittableRandom random = new SplittableRandom(pageTokens);
    int[] staging = new int[words];
    try (ColdStore store = open(kind, words, (long) pages * layout.pageBytes());
        CpuPageMemory memory = new CpuPageMemory(layout, 2L * pages * layout.pageBytes())) {
      memory.ensure(2 * pages);
      int[] contents = random.ints((long) pages * words).toArray();
      long[] handles = new long[pages];
      int[] slots = new int[pages];
      for (int page = 0; page < pages; page++) {
        memory.write(page, contents, page * words);
        handles[pages - 1 - page] = store.store(memory, page, staging);
        slots[page] = 2 * pages - 1 - page;
      }
      store.load(pages - 3, handles, memory, slots, staging);
      for (int i = pages - 3; i < pages; i++) {
        store.load(handles[i], memory, slots[i], staging);
      }
      for (int i = 0; i < pages; i++) {
        memory.read(slots[i], staging, 0);
        int page = pages - 1 - i;
        assertThat(Arrays.equals(staging, 0, words, contents, page * words, (page + 1) * words))
            .isTrue();
      }
      store.release(handles[1]);
      assertThatThrownBy(() -> store.load(pages, handles, memory, slots, staging))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("not stored");
    }
  }

  @ParameterizedTest
  @CsvSource({"host", "spill"})
  void refusesBeyondItsLimitAndTakesAgainAfterARelease(String kind) {
    try (ColdStore store = open(kind, 8, 100)) {
      int[] page = {1, 2, 3, 4, 5, 6, 7, 8};
      long first = store.store(page, 0);
      store.store(page, 0);
      store.store(page, 0);
      assertThatThrownBy(() -> store.store(page, 0))
          .isInstanceOf(ColdStoreFullException.class)
          .hasMessageContaining("32 bytes")
          .hasMessageContaining("96 of 100 bytes")
          .hasMessageContaining("cache.coldBytes");
      store.release(first);
      assertThat(store.store(page, 0)).isEqualTo(first);
      assertThat(store.bytes()).isEqualTo(96);
    }
  }

  @ParameterizedTest
  @CsvSource({"host", "spill"})
  void noticesAWrongHandle(String kind) {
    try (ColdStore store = open(kind, 4, 1000)) {
      long handle = store.store(new int[4], 0);
      store.store(new int[4], 0);
      store.release(handle);
      assertThatThrownBy(() -> store.release(handle)).isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(() -> store.load(handle, new int[4], 0))
          .isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(() -> store.release(7)).isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(() -> store.release(-1)).isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void spillFileIsTheOwnersAloneAndHasNoName() throws IOException {
    Path descriptors = Path.of("/proc/self/fd");
    assumeThat(descriptors).isDirectory();
    SpillColdStore store = new SpillColdStore(directory.resolve("a/b"), 4, 1000);
    try (Stream<Path> names = Files.list(directory.resolve("a/b"))) {
      assertThat(names).as("deleted as soon as it is open").isEmpty();
    }
    List<Path> spill = spillDescriptors(descriptors);
    assertThat(spill).hasSize(1);
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(spill.get(0))))
        .isEqualTo("rw-------");
    store.close();
    store.close();
    assertThat(spillDescriptors(descriptors)).as("gone after close").isEmpty();
  }

  private List<Path> spillDescriptors(Path descriptors) throws IOException {
    List<Path> found = new ArrayList<>();
    try (Stream<Path> all = Files.list(descriptors)) {
      for (Path descriptor : all.toList()) {
        // The descriptor of this very listing is gone by now.
        if (Files.isSymbolicLink(descriptor)
            && Files.readSymbolicLink(descriptor).toString().startsWith(directory.toString())) {
          found.add(descriptor);
        }
      }
    }
    return found;
  }

  @Test
  void namesADirectoryItCannotUse() throws IOException {
    Path file = Files.createFile(directory.resolve("file"));
    assertThatThrownBy(() -> new SpillColdStore(file, 4, 1000))
        .isInstanceOf(ColdStoreFullException.class)
        .hasMessageContaining(file.toString())
        .hasMessageContaining("spark.local.dir");
  }

  /** {@code /dev/full} refuses every write as a full disk does. */
  @Test
  void fullDiskRefusesAPageAndLosesNone() {
    Path full = Path.of("/dev/full");
    assumeThat(full).exists();
    int words = 1 << 16;
    try (SpillColdStore store = SpillColdStore.over(full, directory, words, 1L << 30)) {
      List<Long> handles = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        int[] page = new int[words];
        Arrays.fill(page, i + 1);
        handles.add(store.store(page, 0));
      }
      for (int attempt = 0; attempt < 2; attempt++) {
        assertThatThrownBy(() -> store.store(new int[words], 0))
            .isInstanceOf(ColdStoreFullException.class)
            .hasMessageContaining(directory.toString())
            .hasMessageContaining("cannot write 1048576 bytes")
            .hasMessageContaining("bytes are free")
            .hasMessageContaining("spark.local.dir");
      }
      for (int i = 0; i < 4; i++) {
        int[] page = new int[words];
        store.load(handles.get(i), page, 0);
        assertThat(page).containsOnly(i + 1);
      }
      assertThat(store.bytes()).isEqualTo(4L * 4 * words);
      handles.forEach(store::release);
      assertThat(store.bytes()).isZero();
    }
  }
}
