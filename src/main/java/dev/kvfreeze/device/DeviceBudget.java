package dev.kvfreeze.device;

/**
 * How much of a device's memory is used: so many bytes, or a share of what is free when the device
 * is opened.
 *
 * @param bytes 0 where a share is meant
 * @param share of the free memory, above 0 and at most 1; 0 where bytes are meant
 */
public record DeviceBudget(long bytes, double share) {
  /** Most of what is free: the driver and the kernels need some too. */
  public static final DeviceBudget MOST = ofShare(0.9);

  public static DeviceBudget ofBytes(long bytes) {
    return new DeviceBudget(bytes, 0);
  }

  public static DeviceBudget ofShare(double share) {
    return new DeviceBudget(0, share);
  }

  /** Bytes to take where so many are free. */
  public long bytesOf(long freeBytes) {
    return share > 0 ? (long) (share * freeBytes) : bytes;
  }

  @Override
  public String toString() {
    return share > 0 ? Math.round(100 * share) + "%" : bytes + " bytes";
  }
}
