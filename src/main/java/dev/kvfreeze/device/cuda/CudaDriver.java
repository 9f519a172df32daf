package dev.kvfreeze.device.cuda;

import java.util.List;

/**
 * The few calls of the CUDA driver API that the device needs, each checked: a call that fails
 * throws {@link CudaException}, or {@link dev.kvfreeze.device.DeviceLostError} when the context is
 * beyond use. Addresses are plain numbers, valid on the device; those of {@link PinnedMemory} are
 * valid on both sides (unified addressing). After {@link #open} any thread may call, once it has
 * called {@link #makeCurrent}, but one at a time.
 */
interface CudaDriver extends AutoCloseable {
  /** An ordered queue of work. */
  interface Stream {}

  /** A point in a stream. */
  interface Event {}

  /** A kernel of a loaded module. */
  interface Function {
    String name();
  }

  /** A captured sequence of launches, ready to be launched as one. */
  interface Graph {}

  /** The GPUs that are visible, by ordinal. */
  List<GpuProperties> gpus();

  /** Retains the primary context of a GPU and makes it current to the calling thread. */
  void open(int ordinal);

  /** Makes the open context current to the calling thread. */
  void makeCurrent();

  /** Device memory, as the driver sees it now. */
  MemoryInfo memoryInfo();

  /** Free and total bytes. */
  record MemoryInfo(long freeBytes, long totalBytes) {}

  /**
   * Kernels of a module of PTX text (without a terminating zero), by name.
   *
   * @param moduleName for messages
   */
  List<Function> load(String moduleName, byte[] ptx, List<String> kernels);

  /** Lets a kernel use more dynamic shared memory than the 48 KiB that need no permission. */
  void allowSharedMemory(Function function, int bytes);

  /** Allocates device memory, aligned to 256 bytes. */
  long allocate(long bytes);

  void free(long address);

  /** Allocates page-locked host memory that the device can address. */
  PinnedMemory allocatePinned(long bytes);

  void free(PinnedMemory memory);

  Stream newStream(StreamPriority priority);

  void close(Stream stream);

  /** Waits until all work of a stream is done. */
  void synchronize(Stream stream);

  Event newEvent(EventTiming timing);

  void close(Event event);

  /** The event now stands for all work given to the stream so far. */
  void record(Event event, Stream stream);

  /** Later work of the stream waits for the event as it was recorded last. */
  void await(Stream stream, Event event);

  /** Whether the work that the event stands for is done; true for one never recorded. */
  boolean isDone(Event event);

  /** Waits until the work that the event stands for is done. */
  void synchronize(Event event);

  /** Milliseconds between two timing events that are done. */
  float millisBetween(Event from, Event to);

  /** Copies between device memory and pinned memory, either way, or within either, in order. */
  void copy(long to, long from, long bytes, Stream stream);

  /** Sets bytes to a value, in order. */
  void fill(long address, byte value, long bytes, Stream stream);

  void launch(Launch launch, Stream stream);

  /** Makes a graph of the launches, each ordered after the one before; nothing is executed. */
  Graph graph(List<Launch> launches, Stream stream);

  void launch(Graph graph, Stream stream);

  void close(Graph graph);

  /** Releases the context with everything in it, whatever state it is in; reports nothing. */
  void abandon();

  /** Releases the context. What was not freed before is a leak; see {@link DeviceMemory}. */
  @Override
  void close();

  /** Streams of higher priority get free multiprocessors first. */
  enum StreamPriority {
    NORMAL,
    HIGH
  }

  /** Whether an event remembers when it happened. */
  enum EventTiming {
    OFF,
    ON
  }
}
