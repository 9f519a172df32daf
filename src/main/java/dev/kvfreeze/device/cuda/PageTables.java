package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.HeadPages;
import java.nio.IntBuffer;

/**
 * Copies of the heads' page lists in device memory, which stay there from step to step: an entry is
 * {@code {slot, position of the first token}}. Only chunks of entries that changed are sent, so a
 * decode step that begins no page sends nothing. Parallel to the entries are their attention masses
 * and, as scratch, what each query head of a group contributes to them.
 */
final class PageTables {
  /** Entries that are sent and gathered together. */
  static final int CHUNK = 64;

  private static final int CHUNK_BYTES = 8 * CHUNK;
  private static final int LEAST_CHUNKS = 1 << 12;

  private final GpuWork work;
  private final PageMoves moves;
  private final TopRoom room;
  private final int chunks;
  private final DeviceMemory.Lease entries;
  private final DeviceMemory.Lease mass;

  /** Where a head's list lies. */
  static final class Mirror {
    final int firstChunk;
    final int chunks;

    /** Launches held back since this number of flushes read it. */
    long readAt = -1;

    Mirror(int firstChunk, int chunks) {
      this.firstChunk = firstChunk;
      this.chunks = chunks;
    }

    int firstEntry() {
      return firstChunk * CHUNK;
    }

    int capacity() {
      return chunks * CHUNK;
    }
  }

  /**
   * @param pages that the pool can hold
   */
  PageTables(GpuWork work, PageMoves moves, int pages) {
    this.work = work;
    this.moves = moves;
    this.chunks = (int) Math.min(Integer.MAX_VALUE / CHUNK, 2L * pages / CHUNK + LEAST_CHUNKS);
    this.room = new TopRoom(chunks);
    this.entries = work.memory.lease("page tables", (long) chunks * CHUNK_BYTES);
    this.mass = work.memory.lease("page masses", 4L * chunks * CHUNK);
  }

  /** Bytes that so many pages need, masses and their scratch included. */
  static long bytesFor(long pages) {
    long perChunk = CHUNK_BYTES + 4L * CHUNK + 4L * CHUNK * AttentionMass.USUAL_GROUP;
    return (2 * pages / CHUNK + LEAST_CHUNKS) * perChunk + 1024;
  }

  long entriesAddress() {
    return entries.address();
  }

  long massAddress() {
    return mass.address();
  }

  int chunks() {
    return chunks;
  }

  /** Collects what has changed, to be sent together. */
  Updates updates() {
    return new Updates();
  }

  /** The list of a head, that is up to date; a launch that reads it is about to be held back. */
  Mirror read(HeadPages pages) {
    Mirror mirror = (Mirror) pages.onDevice;
    mirror.readAt = work.queue.flushes();
    return mirror;
  }

  /** The first chunk that may be in use. */
  int lowestChunk() {
    return (int) room.lowest();
  }

  /** Finds or makes the place of a head's list, and adds to the updates what has changed. */
  void mirror(HeadPages pages, Updates updates) {
    Mirror mirror = (Mirror) pages.onDevice;
    if (mirror == null || mirror.capacity() < pages.count) {
      mirror = grown(pages, mirror);
    }
    if (pages.changedFrom < pages.count) {
      updates.add(pages, mirror);
    }
    pages.changedFrom = Integer.MAX_VALUE;
  }

  private Mirror grown(HeadPages pages, Mirror old) {
    if (old != null) {
      release(pages);
    }
    int wanted = (pages.count + pages.count / 4) / CHUNK + 1;
    long first = room.take(wanted, 0);
    if (first < 0) {
      throw new IllegalStateException(
          "the page tables have no room for a head of "
              + pages.count
              + " pages; use pages of more tokens (cache.pageTokens) or decode fewer documents at"
              + " once (engine.maxBatch)");
    }
    Mirror mirror = new Mirror((int) first, wanted);
    pages.onDevice = mirror;
    pages.changedFrom = 0;
    return mirror;
  }

  /** Gives a head's place back. */
  void release(HeadPages pages) {
    Mirror mirror = (Mirror) pages.onDevice;
    if (mirror != null) {
      // What is held back may read it, and the next owner's entries would overtake that.
      work.flush();
      room.release(mirror.firstChunk, mirror.chunks);
      pages.onDevice = null;
      pages.changedFrom = 0;
    }
  }

  /** Gives the device memory back. */
  void close() {
    work.memory.giveUp(mass);
    work.memory.giveUp(entries);
  }

  /** Chunks taken; 0 when every list was released. */
  long usedChunks() {
    return room.usedBytes();
  }

  /** Changed chunks of several heads, sent in one upload and one launch. */
  final class Updates {
    private HeadPages[] heads = new HeadPages[16];
    private Mirror[] mirrors = new Mirror[16];
    private int[] firstChunks = new int[16];
    private int count;
    private int changedChunks;
    private int batch;
    private boolean heldBackReads;

    private void add(HeadPages pages, Mirror mirror) {
      if (count == heads.length) {
        heads = java.util.Arrays.copyOf(heads, 2 * count);
        mirrors = java.util.Arrays.copyOf(mirrors, 2 * count);
        firstChunks = java.util.Arrays.copyOf(firstChunks, 2 * count);
      }
      heads[count] = pages;
      mirrors[count] = mirror;
      firstChunks[count] = pages.changedFrom / CHUNK;
      changedChunks += (pages.count - 1) / CHUNK - firstChunks[count] + 1;
      for (int i = pages.changedFrom; i < pages.count; i++) {
        batch = Math.max(batch, moves.batchOf(pages.slots[i]));
      }
      heldBackReads |= mirror.readAt == work.queue.flushes();
      count++;
    }

    /** Sends what changed, and lets computing wait for the moves of the pages. */
    void send() {
      if (count == 0) {
        return;
      }
      if (heldBackReads || moves.mustWait(batch)) {
        // What is held back reads the entries as they were, or need not wait.
        work.flush();
      }
      moves.awaitBatch(batch);
      work.tables.prepare((CHUNK_BYTES + 4L) * changedChunks, 2);
      PassTables.Table content = work.tables.table((long) CHUNK_BYTES * changedChunks);
      PassTables.Table places = work.tables.ints(changedChunks);
      IntBuffer entryInts = content.ints();
      IntBuffer placeInts = places.ints();
      for (int i = 0; i < count; i++) {
        put(i, entryInts, placeInts);
      }
      work.tables.upload();
      work.driver.launch(
          work.kernels.launch(
              "scatter_pages",
              changedChunks,
              1,
              1,
              128,
              0,
              content.address(),
              places.address(),
              CHUNK_BYTES,
              entries.address()),
          work.computeStream);
      count = 0;
      changedChunks = 0;
      batch = 0;
      heldBackReads = false;
    }

    private void put(int index, IntBuffer entryInts, IntBuffer placeInts) {
      HeadPages pages = heads[index];
      int last = (pages.count - 1) / CHUNK;
      for (int chunk = firstChunks[index]; chunk <= last; chunk++) {
        placeInts.put(mirrors[index].firstChunk + chunk);
        for (int i = chunk * CHUNK; i < (chunk + 1) * CHUNK; i++) {
          entryInts.put(i < pages.count ? pages.slots[i] : 0);
          entryInts.put(i < pages.count ? pages.firstPositions[i] : Integer.MAX_VALUE);
        }
      }
      heads[index] = null;
    }
  }
}
