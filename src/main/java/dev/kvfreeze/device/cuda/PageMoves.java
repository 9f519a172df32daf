package dev.kvfreeze.device.cuda;

import java.util.Arrays;

/**
 * Moves pages between the pool and pinned host memory on a stream of their own, beside the
 * computing. Moves are collected, then sent as a batch, in the order they were asked for:
 *
 * <ul>
 *   <li>a batch waits for everything computed before it, so that a backup sees what was written and
 *       a thaw does not overwrite what is still read;
 *   <li>computing waits for a batch before it uses a slot that the batch touched ({@link
 *       #awaitBatch}), so that a thawed page is there and a reused one was copied;
 *   <li>batches follow each other, so that host places are reused safely.
 * </ul>
 *
 * Pages of a batch go through a small area of device memory, so that scattered pages cross the bus
 * in long copies.
 */
final class PageMoves implements AutoCloseable {
  private static final int STAGING_BYTES = 16 << 20;
  private static final int TABLE_BYTES = 1 << 20;

  /** Most device memory that it takes. */
  static final long DEVICE_BYTES = STAGING_BYTES + TABLE_BYTES + 1024;

  private static final int EVENTS = 16;
  private static final int MOST_WAITING = 1 << 15;

  private final GpuWork work;
  private final CudaDriver driver;
  private final int pageBytes;
  private final long poolAddress;
  private final CudaDriver.Stream stream;
  private final PassTables tables;
  private final DeviceMemory.Lease staging;
  private final int stagingPages;
  private final CudaDriver.Event[] done = new CudaDriver.Event[EVENTS];

  /** What waits to be sent: slot, host address, direction. */
  private int count;

  private int[] slots = new int[256];
  private long[] places = new long[256];
  private boolean[] thaws = new boolean[256];

  /** By slot: the newest batch that touches it. */
  private int[] batchOfSlot = new int[1024];

  /** By slot: the newest run of thaws that has it. */
  private int[] runOfSlot = new int[1024];

  private int run = 1;
  private int batch;
  private int awaited;

  PageMoves(GpuWork work, int pageBytes, long poolAddress) {
    this.work = work;
    this.driver = work.driver;
    this.pageBytes = pageBytes;
    this.poolAddress = poolAddress;
    this.stream = driver.newStream(CudaDriver.StreamPriority.NORMAL);
    this.tables = new PassTables(driver, stream, () -> {}, work.memory, TABLE_BYTES);
    this.stagingPages = Math.max(1, Math.min(STAGING_BYTES / pageBytes, TABLE_BYTES / 64));
    this.staging = work.memory.lease("staging of page moves", (long) stagingPages * pageBytes);
    for (int i = 0; i < EVENTS; i++) {
      done[i] = driver.newEvent(CudaDriver.EventTiming.OFF);
    }
  }

  CudaDriver.Stream stream() {
    return stream;
  }

  /** Copies a page to the host. */
  void backUp(int slot, long hostAddress) {
    add(slot, hostAddress, false);
  }

  /** Copies a page from the host. */
  void bringBack(long hostAddress, int slot) {
    add(slot, hostAddress, true);
  }

  private void add(int slot, long place, boolean thaw) {
    if (count == MOST_WAITING) {
      send();
    }
    if (count == slots.length) {
      slots = Arrays.copyOf(slots, 2 * count);
      places = Arrays.copyOf(places, 2 * count);
      thaws = Arrays.copyOf(thaws, 2 * count);
    }
    if (slot >= batchOfSlot.length) {
      int size = Math.max(slot + 1, 2 * batchOfSlot.length);
      batchOfSlot = Arrays.copyOf(batchOfSlot, size);
      runOfSlot = Arrays.copyOf(runOfSlot, size);
    }
    slots[count] = slot;
    places[count] = place;
    thaws[count] = thaw;
    count++;
    batchOfSlot[slot] = batch + 1;
  }

  /** The newest batch that touches a slot, sent or about to be; 0 for none. */
  int batchOf(int slot) {
    return slot < batchOfSlot.length ? batchOfSlot[slot] : 0;
  }

  /** Whether {@link #awaitBatch} would make computing wait. */
  boolean mustWait(int wanted) {
    return wanted > awaited;
  }

  /** Later launches wait for a batch and all before it. */
  void awaitBatch(int wanted) {
    if (wanted > batch) {
      send();
    }
    if (wanted > awaited) {
      // The event may have been recorded again since: later is safe.
      driver.await(work.computeStream, done[wanted % EVENTS]);
      awaited = batch - (batch - wanted) % EVENTS;
    }
  }

  /** Gives what was collected to the stream. */
  void send() {
    if (count == 0) {
      return;
    }
    work.letWait(stream);
    int from = 0;
    while (from < count) {
      int to = endOfRun(from);
      if (thaws[from]) {
        thawPages(from, to);
      } else {
        backUpPages(from, to);
      }
      from = to;
    }
    count = 0;
    batch++;
    driver.record(done[batch % EVENTS], stream);
  }

  /** Moves of one direction that may be done in any order, as many as fit the staging area. */
  private int endOfRun(int from) {
    run++;
    int to = from;
    while (to < count && to - from < stagingPages && thaws[to] == thaws[from]) {
      // Two pages into one slot, the first frozen again before it was ever used: in turn.
      if (thaws[to] && runOfSlot[slots[to]] == run) {
        break;
      }
      runOfSlot[slots[to]] = run;
      to++;
    }
    return to;
  }

  private void backUpPages(int from, int to) {
    long table = slotTable(from, to);
    driver.launch(
        work.kernels.launch(
            "gather_pages",
            to - from,
            1,
            1,
            128,
            0,
            poolAddress,
            table,
            pageBytes,
            staging.address()),
        stream);
    for (int i = from; i < to; ) {
      int end = endOfNeighbours(i, to);
      driver.copy(places[i], staged(i - from), (long) (end - i) * pageBytes, stream);
      i = end;
    }
  }

  private void thawPages(int from, int to) {
    for (int i = from; i < to; ) {
      int end = endOfNeighbours(i, to);
      driver.copy(staged(i - from), places[i], (long) (end - i) * pageBytes, stream);
      i = end;
    }
    long table = slotTable(from, to);
    driver.launch(
        work.kernels.launch(
            "scatter_pages",
            to - from,
            1,
            1,
            128,
            0,
            staging.address(),
            table,
            pageBytes,
            poolAddress),
        stream);
  }

  private long staged(int index) {
    return staging.address() + (long) index * pageBytes;
  }

  private int endOfNeighbours(int from, int to) {
    int end = from + 1;
    while (end < to && places[end] == places[end - 1] + pageBytes) {
      end++;
    }
    return end;
  }

  private long slotTable(int from, int to) {
    tables.prepare(4L * (to - from), 1);
    PassTables.Table table = tables.ints(to - from);
    table.ints().put(slots, from, to - from);
    tables.upload();
    return table.address();
  }

  /** Waits until everything that was asked for has been moved. */
  void finish() {
    send();
    driver.synchronize(stream);
  }

  @Override
  public void close() {
    driver.synchronize(stream);
    tables.close();
    for (CudaDriver.Event event : done) {
      driver.close(event);
    }
    driver.close(stream);
  }

  /** Gives the device memory back; after {@link #close}. */
  void giveUp() {
    work.memory.giveUp(staging);
    tables.giveUp();
  }
}
