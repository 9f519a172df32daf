package dev.kvfreeze.device.cuda;

/**
 * Device memory that one operation works in. Operations follow each other on the compute stream, so
 * each may have all of it. Engine thread.
 */
final class Scratch {
  private final long address;
  private final long bytes;
  private long used;

  Scratch(DeviceMemory memory, long bytes) {
    this.bytes = bytes;
    this.address = memory.take("scratch", bytes);
  }

  long bytes() {
    return bytes;
  }

  /** Begins an operation. */
  void begin() {
    used = 0;
  }

  /**
   * Room of the present operation.
   *
   * @throws IllegalStateException when there is none left
   */
  long take(String what, long wanted) {
    long rounded = (wanted + DeviceMemory.ALIGNMENT - 1) / DeviceMemory.ALIGNMENT;
    long at = used;
    used += rounded * DeviceMemory.ALIGNMENT;
    if (used > bytes) {
      throw new IllegalStateException(
          what
              + " need "
              + wanted
              + " bytes of scratch memory, "
              + (bytes - at)
              + " of "
              + bytes
              + " are left; lower engine.maxBatch or engine.prefillChunk");
    }
    return address + at;
  }
}
