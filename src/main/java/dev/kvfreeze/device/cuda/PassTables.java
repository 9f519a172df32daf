package dev.kvfreeze.device.cuda;

import java.nio.ByteBuffer;
import java.nio.IntBuffer;

/**
 * Small tables that a forward pass sends to the device: written by the host into pinned memory,
 * uploaded in one copy before the launches that read them. The host fills one half while the other
 * may still be on its way. On the device they have one place, since the stream orders upload and
 * use, and tables of about the same size have the same addresses in each pass, so that launches can
 * be replayed.
 */
final class PassTables implements AutoCloseable {
  private static final int ALIGNMENT = 256;

  private final CudaDriver driver;
  private final CudaDriver.Stream stream;
  private final Runnable launchWhatReads;
  private final DeviceMemory memory;
  private final DeviceMemory.Lease lease;
  private final long address;
  private final int bytes;
  private final PinnedMemory[] pinned = new PinnedMemory[2];
  private final ByteBuffer[] views = new ByteBuffer[2];
  private final CudaDriver.Event[] uploaded = new CudaDriver.Event[2];
  private int half;
  private int used;
  private int sent;

  /**
   * A table.
   *
   * @param address on the device
   * @param content to be filled before the next {@link #upload}
   */
  record Table(long address, ByteBuffer content) {
    IntBuffer ints() {
      return content.asIntBuffer();
    }
  }

  /**
   * @param stream that uploads and reads the tables
   * @param launchWhatReads gives the stream all that was held back and reads tables
   */
  PassTables(
      CudaDriver driver,
      CudaDriver.Stream stream,
      Runnable launchWhatReads,
      DeviceMemory memory,
      int bytes) {
    this.driver = driver;
    this.stream = stream;
    this.launchWhatReads = launchWhatReads;
    this.bytes = bytes;
    this.memory = memory;
    this.lease = memory.lease("tables", bytes);
    this.address = lease.address();
    for (int i = 0; i < 2; i++) {
      pinned[i] = driver.allocatePinned(bytes);
      views[i] = pinned[i].view();
      uploaded[i] = driver.newEvent(CudaDriver.EventTiming.OFF);
    }
  }

  /** Begins a pass: the tables of the one before are not needed any more. */
  void begin() {
    upload();
    launchWhatReads.run();
    half = 1 - half;
    used = 0;
    sent = 0;
    driver.synchronize(uploaded[half]);
  }

  /**
   * Makes sure of room for the tables of one operation, {@code wanted} bytes together in {@code
   * count} tables; those of earlier operations are sent on where there is none.
   *
   * @throws IllegalArgumentException when they are larger than all room
   */
  void prepare(long wanted, int count) {
    long room = wanted + wanted / 4 + (long) count * ALIGNMENT;
    if (room > bytes) {
      throw new IllegalArgumentException(
          "tables of " + wanted + " bytes are sent to the GPU, there is room for " + bytes);
    }
    if (used + room > bytes) {
      begin();
    }
  }

  /** A table; {@link #prepare} has made sure of its room. */
  Table table(long wanted) {
    int room = rounded(wanted);
    if (used + room > bytes) {
      throw new IllegalStateException("no room was prepared for a table of " + wanted + " bytes");
    }
    int at = used;
    used += room;
    int length = (int) wanted;
    ByteBuffer content = views[half].slice(at, length).order(java.nio.ByteOrder.LITTLE_ENDIAN);
    return new Table(address + at, content);
  }

  Table ints(long count) {
    return table(4 * count);
  }

  /** To the next of 1, 1 1/4, 1 1/2, 1 3/4 times a power of two, so that sizes repeat. */
  private int rounded(long wanted) {
    long least = Math.max(ALIGNMENT, wanted);
    long step = Math.max(ALIGNMENT, Long.highestOneBit(least) / 4);
    return Math.toIntExact(Math.min(Integer.MAX_VALUE / 2, (least + step - 1) / step * step));
  }

  /** Sends what was filled and not sent yet; before the launches that read it. */
  void upload() {
    if (sent == used) {
      return;
    }
    driver.copy(address + sent, pinned[half].address() + sent, used - sent, stream);
    driver.record(uploaded[half], stream);
    sent = used;
  }

  /** Gives the device memory back; after {@link #close}. */
  void giveUp() {
    memory.giveUp(lease);
  }

  @Override
  public void close() {
    for (int i = 0; i < 2; i++) {
      driver.close(uploaded[i]);
      driver.free(pinned[i]);
    }
  }
}
