package dev.kvfreeze.cache;

import dev.kvfreeze.device.HostPages;
import dev.kvfreeze.device.PageMemory;

/**
 * A cold store in host memory that the device moves pages to and from by itself, beside its
 * computing: nothing passes through Java.
 */
public final class DeviceColdStore implements ColdStore {
  private final HostPages places;
  private final int pageBytes;
  private final PageHandles handles = new PageHandles();

  /**
   * @param places is closed with the store
   */
  public DeviceColdStore(HostPages places, int pageBytes) {
    this.places = places;
    this.pageBytes = pageBytes;
  }

  @Override
  public long store(PageMemory memory, int slot, int[] staging) {
    int place = handles.next();
    if (bytes() + pageBytes > limitBytes()) {
      throw ColdStoreFullException.limit("host memory", pageBytes, bytes(), limitBytes());
    }
    if (!places.ensure(place + 1)) {
      throw new ColdStoreFullException(
          "the host has no more page-locked memory for frozen pages, "
              + bytes()
              + " bytes of them are held; lower cache.coldBytes, raise the container's memory (and"
              + " ulimit -l), or use a spill file with --set cache.coldStore=spill");
    }
    places.backUp(slot, place);
    return handles.take();
  }

  @Override
  public void load(long handle, PageMemory memory, int slot, int[] staging) {
    places.bringBack(handles.check(handle), slot);
  }

  @Override
  public long store(int[] words, int offset) {
    throw new UnsupportedOperationException("pages of this store move between slots and places");
  }

  @Override
  public void load(long handle, int[] words, int offset) {
    throw new UnsupportedOperationException("pages of this store move between slots and places");
  }

  @Override
  public void release(long handle) {
    handles.release(handle);
  }

  @Override
  public boolean movesBesideComputing() {
    return true;
  }

  @Override
  public long bytes() {
    return (long) handles.live() * pageBytes;
  }

  @Override
  public long limitBytes() {
    return (long) places.capacity() * pageBytes;
  }

  @Override
  public void close() {
    handles.clear();
    places.close();
  }
}
