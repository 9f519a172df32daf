package dev.kvfreeze.device;

/**
 * Places for pages in host memory that a device moves pages to and from by itself, without the host
 * waiting. Moves take effect in the order they are asked for, among themselves and with the
 * operations of the device. Which place belongs to whom is the cold store's business.
 */
public interface HostPages extends AutoCloseable {
  /** Places there can be. */
  int capacity();

  /**
   * Makes sure that places {@code [0, count)} are backed by memory; false when there is no more.
   */
  boolean ensure(int count);

  /** Copies the page in a slot to a place. */
  void backUp(int slot, int place);

  /** Copies the page in a place to a slot. */
  void bringBack(int place, int slot);

  /** Frees the memory; closing twice is safe. */
  @Override
  void close();
}
