package dev.kvfreeze.device.cuda;

import java.nio.ByteBuffer;
import java.util.function.Function;

/**
 * What the operations of a {@link CudaDevice} share: the driver, the kernels, the compute stream
 * with its held-back launches, the tables of a pass, and pinned room for results. Engine thread.
 */
final class GpuWork implements AutoCloseable {
  private static final int TABLE_BYTES = 32 << 20;

  final CudaDriver driver;
  final GpuProperties gpu;
  final DeviceMemory memory;
  final Kernels kernels;
  final CudaDriver.Stream computeStream;
  final LaunchQueue queue;
  final PassTables tables;
  private final CudaDriver.Event computed;
  private PinnedMemory results;
  private Thread bound;

  GpuWork(CudaDriver driver, GpuProperties gpu, DeviceMemory memory, Function<String, byte[]> ptx) {
    this.driver = driver;
    this.gpu = gpu;
    this.memory = memory;
    this.kernels = new Kernels(driver, gpu, ptx);
    this.computeStream = driver.newStream(CudaDriver.StreamPriority.HIGH);
    this.queue = new LaunchQueue(driver, computeStream);
    this.tables = new PassTables(driver, computeStream, queue::flush, memory, TABLE_BYTES);
    this.computed = driver.newEvent(CudaDriver.EventTiming.OFF);
    this.results = driver.allocatePinned(1 << 20);
    this.bound = Thread.currentThread();
  }

  /** The context is a thread's: a device is made by one and used by another. */
  void bind() {
    if (bound != Thread.currentThread()) {
      driver.makeCurrent();
      bound = Thread.currentThread();
    }
  }

  /** Holds a launch back until {@link #flush}. */
  void launch(String kernel, int gridX, int gridY, int gridZ, int block, Object... arguments) {
    queue.add(kernels.launch(kernel, gridX, gridY, gridZ, block, 0, arguments));
  }

  /** The same with dynamic shared memory. */
  void launchShared(
      String kernel, int gridX, int gridY, int gridZ, int block, long shared, Object... arguments) {
    queue.add(kernels.launch(kernel, gridX, gridY, gridZ, block, shared, arguments));
  }

  /** Gives the stream all that was held back, the tables first. */
  void flush() {
    tables.upload();
    queue.flush();
  }

  /** Makes another stream wait for all that was asked of the compute stream so far. */
  void letWait(CudaDriver.Stream stream) {
    flush();
    driver.record(computed, computeStream);
    driver.await(stream, computed);
  }

  /** Copies results to the host and waits for them; valid until the next call. */
  ByteBuffer read(long address, int bytes) {
    flush();
    PinnedMemory target = results(bytes);
    driver.copy(target.address(), address, bytes, computeStream);
    driver.synchronize(computeStream);
    return target.view(0, bytes);
  }

  private PinnedMemory results(int bytes) {
    if (results.bytes() < bytes) {
      driver.free(results);
      results = driver.allocatePinned(Math.max(bytes, 2 * results.bytes()));
    }
    return results;
  }

  @Override
  public void close() {
    queue.close();
    tables.close();
    tables.giveUp();
    driver.free(results);
    driver.close(computed);
    driver.close(computeStream);
  }
}
