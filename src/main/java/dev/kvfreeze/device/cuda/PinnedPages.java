package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.HostPages;
import java.util.ArrayList;
import java.util.List;

/** Places for pages in pinned memory, in slabs that are taken as they are needed. */
final class PinnedPages implements HostPages {
  /** Pinning costs time by the call and by the page of memory, so a slab is large. */
  private static final long SLAB_BYTES = 128L << 20;

  private final GpuWork work;
  private final PageMoves moves;
  private final int pageBytes;
  private final int pagesPerSlab;
  private final int capacity;
  private final List<PinnedMemory> slabs = new ArrayList<>();

  PinnedPages(GpuWork work, PageMoves moves, int pageBytes, long limitBytes) {
    this.work = work;
    this.moves = moves;
    this.pageBytes = pageBytes;
    this.capacity = (int) Math.min(Integer.MAX_VALUE - 8, limitBytes / pageBytes);
    this.pagesPerSlab = (int) Math.max(1, Math.min(SLAB_BYTES, limitBytes) / pageBytes);
  }

  @Override
  public int capacity() {
    return capacity;
  }

  @Override
  public boolean ensure(int count) {
    work.bind();
    while ((long) slabs.size() * pagesPerSlab < count) {
      try {
        slabs.add(work.driver.allocatePinned((long) pagesPerSlab * pageBytes));
      } catch (CudaException e) {
        // The host has no more that may be locked; what is there stays in use.
        return false;
      }
    }
    return count <= capacity;
  }

  @Override
  public void backUp(int slot, int place) {
    moves.backUp(slot, address(place));
  }

  @Override
  public void bringBack(int place, int slot) {
    moves.bringBack(address(place), slot);
  }

  private long address(int place) {
    return slabs.get(place / pagesPerSlab).address() + (long) (place % pagesPerSlab) * pageBytes;
  }

  @Override
  public void close() {
    if (slabs.isEmpty()) {
      return;
    }
    work.bind();
    moves.finish();
    slabs.forEach(work.driver::free);
    slabs.clear();
  }
}
