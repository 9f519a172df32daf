package dev.kvfreeze.device.cuda;

/**
 * Bytes a second that a copy within device memory reads and writes, the best of a few: what other
 * figures are shares of.
 */
final class CopyBandwidth {
  private static final int COPIES = 10;

  private CopyBandwidth() {}

  /** Copies {@code bytes} a few times; takes twice as much device memory meanwhile. */
  static double measure(GpuWork work, long bytes) {
    DeviceMemory.Lease area = work.memory.lease("bandwidth", 2 * bytes);
    CudaDriver.Event from = work.driver.newEvent(CudaDriver.EventTiming.ON);
    CudaDriver.Event to = work.driver.newEvent(CudaDriver.EventTiming.ON);
    double best = 0;
    for (int i = 0; i < COPIES; i++) {
      work.driver.record(from, work.computeStream);
      work.driver.copy(area.address() + bytes, area.address(), bytes, work.computeStream);
      work.driver.record(to, work.computeStream);
      work.driver.synchronize(to);
      best = Math.max(best, 2000.0 * bytes / work.driver.millisBetween(from, to));
    }
    work.driver.close(from);
    work.driver.close(to);
    work.memory.giveUp(area);
    return best;
  }
}
