package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import java.util.Arrays;
import java.util.function.IntFunction;

/**
 * Page slots on the heap, in slabs of a few MiB that are taken when first needed. A slab holds a
 * power of two of pages, so that a slot is found by shift and mask.
 *
 * <p>Slabs are taken by the engine's thread; kernels on other threads only look them up.
 */
public final class CpuPageMemory implements PageMemory {
  private static final int SLAB_WORDS = 1 << 20;

  /** Words that a thread copies at a time: some 10 microseconds. */
  private static final int COPY_WORDS = 1 << 15;

  private final PageLayout layout;
  private final long limitBytes;
  private final IntFunction<int[]> allocator;

  /** Copies many pages together, or null for the caller's thread alone. */
  private final WorkerPool pool;

  private final int capacity;
  private final int slabShift;
  private final int slabMask;
  private final int wordsPerPage;
  private int[][] slabs = {};
  private long allocatedBytes;
  private boolean closed;

  /**
   * Takes no memory yet.
   *
   * @throws IllegalArgumentException when not even one page fits the limit
   */
  public CpuPageMemory(PageLayout layout, long limitBytes) {
    this(layout, limitBytes, int[]::new);
  }

  /** With threads to copy on; its pages are moved by the thread that issues the pool's regions. */
  CpuPageMemory(PageLayout layout, long limitBytes, WorkerPool pool) {
    this(layout, limitBytes, int[]::new, pool);
  }

  /** With a source of slabs that a test can exhaust. */
  CpuPageMemory(PageLayout layout, long limitBytes, IntFunction<int[]> allocator) {
    this(layout, limitBytes, allocator, null);
  }

  private CpuPageMemory(
      PageLayout layout, long limitBytes, IntFunction<int[]> allocator, WorkerPool pool) {
    if (limitBytes < layout.pageBytes()) {
      throw new IllegalArgumentException(
          "a KV pool of "
              + limitBytes
              + " bytes cannot hold one page of "
              + layout.pageBytes()
              + " bytes; give the pool more memory");
    }
    this.layout = layout;
    this.pool = pool;
    this.allocator = allocator;
    this.limitBytes = limitBytes;
    wordsPerPage = layout.wordsPerPage();
    // The largest slot number must leave room for its slab in a Java array.
    capacity = (int) Math.min(limitBytes / layout.pageBytes(), Integer.MAX_VALUE - (1 << 20));
    int pagesPerSlab = Integer.highestOneBit(Math.max(1, SLAB_WORDS / wordsPerPage));
    slabShift = Integer.numberOfTrailingZeros(pagesPerSlab);
    slabMask = pagesPerSlab - 1;
  }

  @Override
  public PageLayout layout() {
    return layout;
  }

  @Override
  public int capacity() {
    return capacity;
  }

  @Override
  public long allocatedBytes() {
    return allocatedBytes;
  }

  @Override
  public void ensure(int count) {
    if (closed) {
      throw new IllegalStateException("the page memory is closed");
    }
    if (count > capacity) {
      throw new IllegalArgumentException(
          count + " pages asked of a pool that holds " + capacity + " in " + limitBytes + " bytes");
    }
    int wanted = count <= 0 ? 0 : ((count - 1) >>> slabShift) + 1;
    if (wanted <= slabs.length) {
      return;
    }
    int[][] grown = Arrays.copyOf(slabs, wanted);
    try {
      for (int i = slabs.length; i < wanted; i++) {
        long pages = Math.min(slabMask + 1L, capacity - ((long) i << slabShift));
        grown[i] = allocator.apply((int) pages * wordsPerPage);
        slabs = Arrays.copyOf(grown, i + 1);
        allocatedBytes += 4L * grown[i].length;
      }
    } catch (OutOfMemoryError e) {
      throw explained(count, e);
    }
  }

  private OutOfMemoryError explained(int count, OutOfMemoryError cause) {
    OutOfMemoryError error =
        new OutOfMemoryError(
            "no heap for the KV pool: "
                + count
                + " pages need "
                + (long) count * layout.pageBytes()
                + " bytes, "
                + allocatedBytes
                + " are taken, the pool's limit is "
                + limitBytes
                + " and the heap's "
                + Runtime.getRuntime().maxMemory()
                + "; give Java a larger heap (-Xmx, spark.executor.memory) or the pool less memory");
    error.initCause(cause);
    return error;
  }

  @Override
  public void read(int slot, int[] words, int offset) {
    System.arraycopy(slab(slot), offset(slot), words, offset, wordsPerPage);
  }

  @Override
  public void write(int slot, int[] words, int offset) {
    System.arraycopy(words, offset, slab(slot), offset(slot), wordsPerPage);
  }

  @Override
  public void write(int count, int[] slots, int[][] words, int[] offsets) {
    if (pool == null) {
      PageMemory.super.write(count, slots, words, offsets);
      return;
    }
    pool.parallelFor(
        count,
        Math.max(1, COPY_WORDS / wordsPerPage),
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            write(slots[i], words[i], offsets[i]);
          }
        });
  }

  /** The array that holds a slot's page. */
  int[] slab(int slot) {
    return slabs[slot >>> slabShift];
  }

  /** The number of that array among {@link #slabs}. */
  int slabNumber(int slot) {
    return slot >>> slabShift;
  }

  /** All arrays taken so far. */
  int[][] slabs() {
    return slabs;
  }

  /** Where in its {@link #slab} a slot's page begins. */
  int offset(int slot) {
    return (slot & slabMask) * wordsPerPage;
  }

  @Override
  public void close() {
    closed = true;
    slabs = new int[0][];
    allocatedBytes = 0;
  }
}
