package dev.kvfreeze.cache;

import java.util.ArrayList;
import java.util.List;

/** Frozen pages in host memory, in slabs that are taken as they are needed. */
public final class HostColdStore implements ColdStore {
  private static final int SLAB_WORDS = 1 << 20;

  private final int pageWords;
  private final int slabPages;
  private final long limitBytes;
  private final HandleList handles;
  private final List<int[]> slabs = new ArrayList<>();

  /**
   * @param pageWords 32-bit words a page
   * @param limitBytes most bytes to hold
   */
  public HostColdStore(int pageWords, long limitBytes) {
    this.pageWords = pageWords;
    this.slabPages = Math.max(1, SLAB_WORDS / pageWords);
    this.limitBytes = limitBytes;
    this.handles = new HandleList(limitBytes / (4L * pageWords));
  }

  @Override
  public long store(int[] words, int offset) {
    long handle = handles.acquire();
    if (handle < 0) {
      throw new ColdStoreFullException(
          "the cold store of " + limitBytes + " bytes of host memory is full; raise cold.bytes or "
              + "set cold.store=spill");
    }
    while (slabs.size() <= handle / slabPages) {
      slabs.add(newSlab());
    }
    System.arraycopy(words, offset, slab(handle), at(handle), pageWords);
    return handle;
  }

  private int[] newSlab() {
    try {
      return new int[slabPages * pageWords];
    } catch (OutOfMemoryError e) {
      throw new ColdStoreFullException(
          "the Java heap has no room for more frozen pages (" + bytes() + " bytes held); raise the "
              + "executor's memory, lower cold.bytes or set cold.store=spill",
          e);
    }
  }

  private int[] slab(long handle) {
    return slabs.get((int) (handle / slabPages));
  }

  private int at(long handle) {
    return (int) (handle % slabPages) * pageWords;
  }

  @Override
  public void load(long handle, int[] words, int offset) {
    System.arraycopy(slab(handle), at(handle), words, offset, pageWords);
  }

  @Override
  public void release(long handle) {
    handles.release(handle);
  }

  @Override
  public long bytes() {
    return handles.used() * 4L * pageWords;
  }

  @Override
  public long limitBytes() {
    return limitBytes;
  }

  @Override
  public void close() {
    slabs.clear();
  }
}
