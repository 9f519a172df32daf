package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Brings the attention mass of the pages to the host, for all layers of a pass in one copy: the
 * masses lie beside the page tables, each head's at a place of its own. Asked for after the last
 * layer and waited for when the policy looks, so that the host decides while the device goes on.
 */
final class AttentionMass implements AutoCloseable {
  /** Query heads of a group that a pool takes scratch for in advance. */
  static final int USUAL_GROUP = 8;

  private final GpuWork work;
  private final CudaDriver.Event copied;
  private final List<HeadPages> waiting = new ArrayList<>();
  private CudaPageMemory memory;
  private PinnedMemory pinned;
  private int firstChunk;
  private boolean requested;

  AttentionMass(GpuWork work) {
    this.work = work;
    this.copied = work.driver.newEvent(CudaDriver.EventTiming.OFF);
  }

  /** Remembers the heads of an attention whose masses are wanted. */
  void wanted(CudaPageMemory pool, List<AttentionSegment> segments) {
    for (AttentionSegment segment : segments) {
      for (HeadPages pages : segment.heads()) {
        if (pages.wantMass && segment.rowCount() > 0) {
          memory = pool;
          waiting.add(pages);
        }
      }
    }
    requested = false;
  }

  /** Begins the copy. */
  void request() {
    if (waiting.isEmpty() || requested) {
      return;
    }
    PageTables tables = memory.tables();
    firstChunk = tables.lowestChunk();
    long bytes = 4L * PageTables.CHUNK * (tables.chunks() - firstChunk);
    if (pinned == null || pinned.bytes() < bytes) {
      if (pinned != null) {
        work.driver.free(pinned);
      }
      pinned = work.driver.allocatePinned(2 * bytes);
    }
    work.flush();
    work.driver.copy(
        pinned.address(),
        tables.massAddress() + 4L * PageTables.CHUNK * firstChunk,
        bytes,
        work.computeStream);
    work.driver.record(copied, work.computeStream);
    requested = true;
  }

  /** Waits for the copy and fills the heads' masses. */
  void await() {
    if (waiting.isEmpty()) {
      return;
    }
    request();
    work.driver.synchronize(copied);
    ByteBuffer bytes = pinned.view().order(ByteOrder.LITTLE_ENDIAN);
    FloatBuffer floats = bytes.asFloatBuffer();
    for (HeadPages pages : waiting) {
      PageTables.Mirror mirror = (PageTables.Mirror) pages.onDevice;
      int at = mirror.firstEntry() - firstChunk * PageTables.CHUNK;
      floats.get(at, pages.mass, 0, pages.count);
    }
    waiting.clear();
    requested = false;
  }

  @Override
  public void close() {
    if (pinned != null) {
      work.driver.free(pinned);
    }
    work.driver.close(copied);
  }
}
