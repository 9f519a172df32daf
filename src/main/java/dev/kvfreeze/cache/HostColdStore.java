package dev.kvfreeze.cache;

import dev.kvfreeze.device.PageMemory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A cold store in host memory: slabs of whole pages, taken as needed up to a byte limit. */
public final class HostColdStore implements ColdStore {
  private static final int SLAB_WORDS = 1 << 18;

  private final int wordsPerPage;
  private final long limitBytes;
  private final int pagesPerSlab;
  private final PageHandles handles = new PageHandles();
  private final List<int[]> slabs = new ArrayList<>();

  /** Where the pages lie that are copied together. */
  private int[][] sources = {};

  private int[] starts = {};

  /**
   * @param wordsPerPage 32-bit words of every page
   * @param limitBytes most bytes of pages it holds
   */
  public HostColdStore(int wordsPerPage, long limitBytes) {
    if (wordsPerPage < 1) {
      throw new IllegalArgumentException("a page has at least one word, found " + wordsPerPage);
    }
    if (limitBytes < 0) {
      throw new IllegalArgumentException("cold store limit is negative: " + limitBytes + " bytes");
    }
    this.wordsPerPage = wordsPerPage;
    this.limitBytes = limitBytes;
    this.pagesPerSlab = Math.max(1, SLAB_WORDS / wordsPerPage);
  }

  @Override
  public long store(int[] words, int offset) {
    int next = makeRoom();
    System.arraycopy(words, offset, slabs.get(next / pagesPerSlab), start(next), wordsPerPage);
    return handles.take();
  }

  /** Straight from the device: its words are copied once. */
  @Override
  public long store(PageMemory memory, int slot, int[] staging) {
    int next = makeRoom();
    memory.read(slot, slabs.get(next / pagesPerSlab), start(next));
    return handles.take();
  }

  /** The place of the next page. */
  private int makeRoom() {
    if (bytes() + 4L * wordsPerPage > limitBytes) {
      throw ColdStoreFullException.limit("host memory", 4L * wordsPerPage, bytes(), limitBytes);
    }
    int next = handles.next();
    if (next / pagesPerSlab >= slabs.size()) {
      slabs.add(newSlab());
    }
    return next;
  }

  private int[] newSlab() {
    try {
      return new int[pagesPerSlab * wordsPerPage];
    } catch (OutOfMemoryError e) {
      throw new ColdStoreFullException(
          "the Java heap has no room for more frozen pages, "
              + bytes()
              + " bytes of them are held; raise the executor's memory, lower cache.coldBytes, or"
              + " use a spill file with --set cache.coldStore=spill",
          e);
    }
  }

  @Override
  public void load(long handle, int[] words, int offset) {
    int index = handles.check(handle);
    System.arraycopy(slabs.get(index / pagesPerSlab), start(index), words, offset, wordsPerPage);
  }

  /** Straight to the device. */
  @Override
  public void load(long handle, PageMemory memory, int slot, int[] staging) {
    int index = handles.check(handle);
    memory.write(slot, slabs.get(index / pagesPerSlab), start(index));
  }

  /** Straight to the device, which may copy them on all its threads. */
  @Override
  public void load(int count, long[] cold, PageMemory memory, int[] slots, int[] staging) {
    if (sources.length < count) {
      sources = new int[Math.max(count, 2 * sources.length)][];
      starts = new int[sources.length];
    }
    for (int i = 0; i < count; i++) {
      int index = handles.check(cold[i]);
      sources[i] = slabs.get(index / pagesPerSlab);
      starts[i] = start(index);
    }
    memory.write(count, slots, sources, starts);
    // A slab that is given up shall not live on here.
    Arrays.fill(sources, 0, count, null);
  }

  @Override
  public void release(long handle) {
    handles.release(handle);
    if (handles.live() == 0) {
      slabs.clear();
    }
  }

  @Override
  public long bytes() {
    return handles.live() * 4L * wordsPerPage;
  }

  @Override
  public long limitBytes() {
    return limitBytes;
  }

  @Override
  public void close() {
    handles.clear();
    slabs.clear();
  }

  private int start(int index) {
    return index % pagesPerSlab * wordsPerPage;
  }
}
