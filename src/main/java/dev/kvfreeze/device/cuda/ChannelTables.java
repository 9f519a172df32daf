package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.SketchChannels;
import java.nio.ByteBuffer;
import java.util.IdentityHashMap;
import java.util.Map;

/**
 * The channels of a model's heads in device memory, as {@code sketch.cu} reads them: an entry of 16
 * bytes a code. They lie in the pool's upper end, among the sketches that use them, from a head's
 * first sketches until the pool is closed.
 */
final class ChannelTables {
  private static final int ENTRY_BYTES = 16;

  private final GpuWork work;
  private final CudaPageMemory memory;

  /** Offsets in the pool. */
  private final Map<SketchChannels, Long> offsets = new IdentityHashMap<>();

  ChannelTables(GpuWork work, CudaPageMemory memory) {
    this.work = work;
    this.memory = memory;
  }

  /**
   * Where the table of a head's channels lies; takes room for it at the first call.
   *
   * @throws OutOfMemoryError when the pool has none
   */
  long addressOf(SketchChannels channels) {
    return memory.topAddress(offsets.computeIfAbsent(channels, this::upload));
  }

  private long upload(SketchChannels channels) {
    long bytes = bytes(channels);
    long offset = memory.takeTop(bytes);
    if (offset < 0) {
      throw new OutOfMemoryError(
          "the pool has no room for what sketches know of the model ("
              + bytes
              + " bytes a head); give it more with cache.poolBytes or engine.deviceMemory");
    }
    work.bind();
    work.flush();
    PinnedMemory pinned = work.driver.allocatePinned(bytes);
    fill(channels, pinned.view());
    work.driver.copy(memory.topAddress(offset), pinned.address(), bytes, work.computeStream);
    work.driver.synchronize(work.computeStream);
    work.driver.free(pinned);
    return offset;
  }

  /** {dimension, weight, one over the level's width, codes of the dimension * 4 + place} a code. */
  private static void fill(SketchChannels channels, ByteBuffer table) {
    int code = 0;
    for (int entry = 0; entry < channels.keptDimensions().length; entry++) {
      int codes = channels.keptCodes()[entry];
      for (int place = codes - 1; place >= 0; place--, code++) {
        table.putInt(channels.keptDimensions()[entry]);
        table.putFloat(channels.weights()[code]);
        table.putFloat(channels.inverseWidths()[entry]);
        table.putInt(codes * 4 + place);
      }
    }
  }

  private static long bytes(SketchChannels channels) {
    long bytes = (long) ENTRY_BYTES * channels.codes();
    return (bytes + DeviceMemory.ALIGNMENT - 1) / DeviceMemory.ALIGNMENT * DeviceMemory.ALIGNMENT;
  }

  /** Gives the room back; nothing reads the tables any more. */
  void release() {
    offsets.forEach((channels, offset) -> memory.releaseTop(offset, bytes(channels)));
    offsets.clear();
  }
}
