package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.HostPages;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchChannels;
import dev.kvfreeze.model.Rope;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * The pool of a GPU: page slots from the lower end up, sketches from the upper end down, so that
 * one budget serves both in whatever ratio the documents need. Within a page the kernels keep keys
 * and values by token ({@code src/main/cuda/README.md}); {@link #read} and {@link #write} turn that
 * into the words of {@link PageLayout}.
 */
final class CudaPageMemory implements PageMemory {
  /** Left for what is taken at its first use, by the first pass: tables of RoPE. */
  private static final long LATE_BYTES = 32L << 20;

  private final GpuWork work;
  private final PageLayout layout;
  private final DeviceMemory.Lease region;
  private final TopRoom top;
  private final PageMoves moves;
  private final PageTables tables;
  private final ChannelTables channelTables;
  private final DeviceMemory.Lease pageSums;
  private final PinnedMemory scratch;
  private int ensured;
  private boolean closed;

  /**
   * Takes as much of {@code limitBytes} as the device has left.
   *
   * @throws IllegalArgumentException for a layout that the kernels do not know
   * @throws OutOfMemoryError when not even a page fits
   */
  CudaPageMemory(GpuWork work, PageLayout layout, long limitBytes) {
    requireKnown(layout);
    this.work = work;
    this.layout = layout;
    long pageBytes = layout.pageBytes();
    // The page tables and the staging area come out of the same budget, and what is taken later.
    long spare = PageTables.bytesFor(0) + PageMoves.DEVICE_BYTES + LATE_BYTES;
    double share = pageBytes / (pageBytes + (double) PageTables.bytesFor(1 << 20) / (1 << 20));
    long left = (long) ((work.memory.freeBytes() - spare) * share);
    long bytes = Math.min(limitBytes, left) / pageBytes * pageBytes;
    this.region = work.memory.lease("KV pages and sketches", Math.max(bytes, pageBytes));
    this.top = new TopRoom(region.bytes());
    this.moves = new PageMoves(work, layout.pageBytes(), region.address());
    this.tables = new PageTables(work, moves, capacity());
    this.channelTables = new ChannelTables(work, this);
    this.pageSums = work.memory.lease("page sums", sumBytes(AttentionMass.USUAL_GROUP));
    this.scratch = work.driver.allocatePinned(pageBytes);
  }

  private long sumBytes(int group) {
    return 4L * PageTables.CHUNK * tables.chunks() * group;
  }

  /**
   * Scratch parallel to the page tables: a float for each query head of a group.
   *
   * @throws IllegalArgumentException for larger groups than there is room for
   */
  long pageSums(int group) {
    if (sumBytes(group) > pageSums.bytes()) {
      throw new IllegalArgumentException(
          "the GPU measures attention for up to "
              + AttentionMass.USUAL_GROUP
              + " query heads a KV head, found "
              + group
              + "; use a policy that needs none (full, window) or engine.device=cpu");
    }
    return pageSums.address();
  }

  private static void requireKnown(PageLayout layout) {
    if (layout.format() != KvFormat.BF16) {
      throw new IllegalArgumentException(
          "the GPU keeps keys and values as bf16, found cache.format="
              + layout.format()
              + "; set cache.format=bf16 or engine.device=cpu");
    }
    if (64 % layout.pageTokens() != 0) {
      throw new IllegalArgumentException(
          "the GPU's kernels take pages of 1, 2, 4, 8, 16, 32 or 64 tokens, found"
              + " cache.pageTokens="
              + layout.pageTokens());
    }
    int size = layout.headSize();
    if (size % 16 != 0 || size < 16 || size > 256) {
      throw new IllegalArgumentException(
          "the GPU's kernels take head sizes of 16 to 256 in steps of 16, found "
              + size
              + "; use engine.device=cpu");
    }
  }

  static CudaPageMemory of(PageMemory memory) {
    if (memory instanceof CudaPageMemory cuda) {
      return cuda;
    }
    throw new IllegalArgumentException(
        "this page memory belongs to another device: " + memory.getClass().getName());
  }

  @Override
  public PageLayout layout() {
    return layout;
  }

  /** Falls while sketches take room. */
  @Override
  public int capacity() {
    return (int) Math.min(Integer.MAX_VALUE - 8, top.lowest() / layout.pageBytes());
  }

  @Override
  public long allocatedBytes() {
    return closed ? 0 : (long) ensured * layout.pageBytes() + top.usedBytes();
  }

  @Override
  public void ensure(int count) {
    if (count > capacity()) {
      throw new IllegalArgumentException(
          count + " pages asked of a pool that has room for " + capacity());
    }
    ensured = Math.max(ensured, count);
  }

  long poolAddress() {
    return region.address();
  }

  PageTables tables() {
    return tables;
  }

  PageMoves moves() {
    return moves;
  }

  @Override
  public void read(int slot, int[] words, int offset) {
    work.bind();
    moves.finish();
    work.flush();
    work.driver.copy(scratch.address(), pageAddress(slot), layout.pageBytes(), work.computeStream);
    work.driver.synchronize(work.computeStream);
    PageWords.fromDevice(layout, scratch.view(), words, offset);
  }

  @Override
  public void write(int slot, int[] words, int offset) {
    work.bind();
    moves.finish();
    work.flush();
    ByteBuffer page = scratch.view();
    PageWords.toDevice(layout, words, offset, page);
    work.driver.copy(pageAddress(slot), scratch.address(), layout.pageBytes(), work.computeStream);
    work.driver.synchronize(work.computeStream);
  }

  private long pageAddress(int slot) {
    return region.address() + (long) slot * layout.pageBytes();
  }

  @Override
  public Optional<HostPages> hostPages(long limitBytes) {
    return Optional.of(new PinnedPages(work, moves, layout.pageBytes(), limitBytes));
  }

  @Override
  public KeySketches newSketches(int planes, Rope rope) {
    return new CudaKeySketches(this, layout.headSize(), layout.pageTokens(), planes, rope);
  }

  @Override
  public KeySketches newSketches(SketchChannels channels, Rope rope) {
    long table = channelTables.addressOf(channels);
    return new CudaKeySketches(this, layout.pageTokens(), channels, table, rope);
  }

  @Override
  public void forget(HeadPages pages) {
    work.bind();
    tables.release(pages);
  }

  @Override
  public void sendMoves() {
    work.bind();
    moves.send();
  }

  /** Offset of a block at the upper end; -1 when pages and sketches fill the pool. */
  long takeTop(long bytes) {
    return top.take(bytes, (long) ensured * layout.pageBytes());
  }

  void releaseTop(long offset, long bytes) {
    work.bind();
    work.flush();
    top.release(offset, bytes);
  }

  long topAddress(long offset) {
    return region.address() + offset;
  }

  /** Copies a sketch into a larger block. */
  void copySketch(long from, int tokens, long to, int room, CudaKeySketches sketches) {
    work.bind();
    work.flush();
    CudaDriver driver = work.driver;
    driver.copy(to, from, 4L * sketches.words() * tokens, work.computeStream);
    driver.copy(
        sketches.stepsAddress(to, room),
        sketches.stepsAddress(from, tokens),
        2L * tokens,
        work.computeStream);
    driver.copy(
        sketches.centreAddress(to, room),
        sketches.centreAddress(from, tokens),
        4L * sketches.headSize(),
        work.computeStream);
  }

  /**
   * Gives the pool back.
   *
   * @throws IllegalStateException when sketches or page lists were not released: a leak
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    work.bind();
    work.flush();
    channelTables.release();
    moves.close();
    work.driver.free(scratch);
    work.memory.giveUp(pageSums);
    tables.close();
    moves.giveUp();
    work.memory.giveUp(region);
    if (top.usedBytes() != 0 || tables.usedChunks() != 0) {
      throw new IllegalStateException(
          "the pool is closed while sketches hold "
              + top.usedBytes()
              + " bytes and page lists "
              + tables.usedChunks()
              + " chunks");
    }
  }
}
