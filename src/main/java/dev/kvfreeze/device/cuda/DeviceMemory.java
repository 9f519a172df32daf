package dev.kvfreeze.device.cuda;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The one owner of a GPU's memory: takes the whole budget from the driver at once, hands it out,
 * and gives it back at close. Nothing is allocated afterwards, so that a long run ends as it began.
 * What is taken for good lies from the lower end up; a {@link Lease}, which must be given up
 * before, from the upper end down.
 */
final class DeviceMemory implements AutoCloseable {
  /** What kernels and copies like their data aligned to. */
  static final int ALIGNMENT = 256;

  private final CudaDriver driver;
  private final long base;
  private final long budgetBytes;
  private final Map<String, Long> holders = new LinkedHashMap<>();
  private final Map<String, Lease> leases = new LinkedHashMap<>();
  private final TopRoom leased;
  private long used;
  private boolean closed;

  /** A part whose owner closes it before the device. */
  record Lease(String holder, long address, long bytes) {}

  /**
   * @param budgetBytes what is taken from the driver now
   * @throws OutOfMemoryError with the remedy, when the driver has less
   */
  DeviceMemory(CudaDriver driver, long budgetBytes) {
    this.driver = driver;
    this.budgetBytes = budgetBytes / ALIGNMENT * ALIGNMENT;
    if (this.budgetBytes <= 0) {
      throw new IllegalArgumentException(
          "the device memory budget is " + budgetBytes + " bytes; raise engine.deviceMemory");
    }
    this.leased = new TopRoom(this.budgetBytes);
    this.base = allocate();
  }

  private long allocate() {
    try {
      return driver.allocate(budgetBytes);
    } catch (CudaException e) {
      CudaDriver.MemoryInfo info = driver.memoryInfo();
      OutOfMemoryError error =
          new OutOfMemoryError(
              "the GPU does not give "
                  + budgetBytes
                  + " bytes, "
                  + info.freeBytes()
                  + " of "
                  + info.totalBytes()
                  + " are free (another process may hold the rest, see nvidia-smi); lower"
                  + " engine.deviceMemory");
      error.initCause(e);
      throw error;
    }
  }

  /**
   * Takes a part for good.
   *
   * @param holder who has it, for the message when memory is short
   * @return its address, aligned to {@link #ALIGNMENT}
   * @throws OutOfMemoryError saying who holds what, and the remedy
   */
  long take(String holder, long bytes) {
    long rounded = rounded(bytes);
    if (rounded > freeBytes()) {
      throw exhausted(holder, bytes);
    }
    long address = base + used;
    used += rounded;
    holders.merge(holder, rounded, Long::sum);
    return address;
  }

  /** Takes a part that must be given up with {@link #giveUp} before the device closes. */
  Lease lease(String holder, long bytes) {
    String name = holder;
    for (int i = 2; leases.containsKey(name); i++) {
      name = holder + " " + i;
    }
    long offset = leased.take(rounded(bytes), used);
    if (offset < 0) {
      throw exhausted(holder, bytes);
    }
    Lease lease = new Lease(name, base + offset, bytes);
    leases.put(name, lease);
    holders.put(name, rounded(bytes));
    return lease;
  }

  void giveUp(Lease lease) {
    if (leases.remove(lease.holder()) == null) {
      throw new IllegalStateException(lease.holder() + ": device memory is given up twice");
    }
    leased.release(lease.address() - base, rounded(lease.bytes()));
    holders.remove(lease.holder());
  }

  private static long rounded(long bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  private OutOfMemoryError exhausted(String holder, long bytes) {
    return new OutOfMemoryError(
        holder
            + " need "
            + bytes
            + " bytes of device memory, "
            + freeBytes()
            + " of the budget of "
            + budgetBytes
            + " are left; held by "
            + holders
            + ". Raise engine.deviceMemory, or take a smaller model, a smaller engine.prefillChunk"
            + " or engine.maxBatch, or a smaller cache.poolBytes");
  }

  /** Between what is taken for good and what is leased. */
  long freeBytes() {
    return leased.lowest() - used;
  }

  long budgetBytes() {
    return budgetBytes;
  }

  /** Bytes by holder, in the order they were taken. */
  Map<String, Long> holders() {
    return Map.copyOf(holders);
  }

  /**
   * Gives everything back.
   *
   * @throws IllegalStateException naming the parts that were not given up: a leak
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    driver.free(base);
    if (!leases.isEmpty()) {
      throw new IllegalStateException(
          "device memory is closed while it is held by " + leases.keySet());
    }
  }
}
