package dev.kvfreeze.device.cuda;

import static dev.kvfreeze.device.cuda.Kernels.divideUp;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.QkvFinish;
import dev.kvfreeze.device.QkvRows;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.AttentionShape;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.List;

/** Writes keys and values into pages, and attends over them. */
final class PageAttention {
  /** Kernels take this many tokens as one part at most. */
  private static final int MOST_PART_TOKENS = 1024;

  private static final int LEAST_PART_TOKENS = 64;
  private static final int PARTS_PER_MULTIPROCESSOR = 4;
  private static final int TILE_ROWS = 64;
  private static final int TILE_TOKENS = 64;

  private final GpuWork work;
  private final Scratch scratch;
  private final AttentionMass mass;

  PageAttention(GpuWork work, Scratch scratch, AttentionMass mass) {
    this.work = work;
    this.scratch = scratch;
    this.mass = mass;
  }

  /** The tables that all kernels of a layer read. */
  private record Tables(long segments, long heads, long pages, long pool) {}

  private Tables tables(
      AttentionShape shape, CudaPageMemory memory, List<AttentionSegment> segments) {
    PageTables lists = memory.tables();
    memory.moves().send();
    PageTables.Updates updates = lists.updates();
    for (AttentionSegment segment : segments) {
      for (HeadPages pages : segment.heads()) {
        lists.mirror(pages, updates);
      }
    }
    updates.send();
    int kvHeads = shape.kvHeads();
    work.tables.prepare(16L * segments.size() + 8L * segments.size() * kvHeads, 2);
    PassTables.Table segmentTable = work.tables.ints(4L * segments.size());
    PassTables.Table headTable = work.tables.ints(2L * segments.size() * kvHeads);
    IntBuffer segmentInts = segmentTable.ints();
    IntBuffer headInts = headTable.ints();
    for (AttentionSegment segment : segments) {
      segmentInts.put(segment.firstRow()).put(segment.rowCount());
      segmentInts.put(segment.firstPosition()).put(0);
      for (HeadPages pages : segment.heads()) {
        headInts.put(lists.read(pages).firstEntry()).put(pages.count);
      }
    }
    return new Tables(
        segmentTable.address(), headTable.address(), lists.entriesAddress(), memory.poolAddress());
  }

  private static int rows(List<AttentionSegment> segments) {
    int rows = 0;
    for (AttentionSegment segment : segments) {
      rows += segment.rowCount();
    }
    return rows;
  }

  private static void check(AttentionShape shape, CudaPageMemory memory) {
    if (shape.headSize() != memory.layout().headSize()) {
      throw new IllegalArgumentException(
          "the layer's heads have "
              + shape.headSize()
              + " dimensions, the pages' "
              + memory.layout().headSize());
    }
    if (shape.kvHeads() < 1 || shape.heads() % shape.kvHeads() != 0) {
      throw new IllegalArgumentException(
          shape.heads() + " query heads are no multiple of " + shape.kvHeads() + " KV heads");
    }
  }

  /** See {@link dev.kvfreeze.device.Device#writeKv}. */
  void write(
      CudaActivations keys,
      CudaActivations values,
      AttentionShape shape,
      CudaPageMemory memory,
      List<AttentionSegment> segments) {
    check(shape, memory);
    int rows = rows(segments);
    if (rows == 0) {
      return;
    }
    Tables t = tables(shape, memory, segments);
    work.launch(
        "write_kv",
        divideUp(shape.kvHeads(), 8),
        rows,
        1,
        256,
        keys.address(),
        values.address(),
        shape.kvHeads(),
        shape.headSize(),
        memory.layout().pageTokens(),
        t.segments(),
        segments.size(),
        t.heads(),
        t.pages(),
        t.pool());
  }

  /**
   * See {@link dev.kvfreeze.device.Device#finishQkv}.
   *
   * @param turns of the rows' positions
   */
  void finish(
      QkvRows qkv,
      QkvFinish finish,
      Elementwise.RopeTable turns,
      AttentionShape shape,
      CudaPageMemory memory,
      List<AttentionSegment> segments) {
    check(shape, memory);
    int rows = rows(segments);
    if (rows == 0) {
      return;
    }
    Tables t = tables(shape, memory, segments);
    CudaActivations query = CudaActivations.of(qkv.query());
    work.launch(
        "finish_qkv",
        divideUp(shape.heads() + 2 * shape.kvHeads(), 8),
        rows,
        1,
        256,
        query.address(),
        CudaActivations.of(qkv.key()).address(),
        CudaActivations.of(qkv.value()).address(),
        address(finish.queryBias()),
        address(finish.keyBias()),
        address(finish.valueBias()),
        address(finish.queryNorm()),
        address(finish.keyNorm()),
        finish.epsilon(),
        turns.cosines,
        turns.sines,
        turns.pairs(),
        turns.halfSplit(),
        shape.heads(),
        shape.kvHeads(),
        shape.headSize(),
        memory.layout().pageTokens(),
        t.segments(),
        segments.size(),
        t.heads(),
        t.pages(),
        t.pool());
    query.written(rows);
  }

  private static long address(Weight weight) {
    return weight == null ? 0 : CudaWeight.of(weight).address();
  }

  /** See {@link dev.kvfreeze.device.Device#attend}. */
  void attend(
      CudaActivations queries,
      AttentionShape shape,
      CudaPageMemory memory,
      List<AttentionSegment> segments,
      CudaActivations out) {
    check(shape, memory);
    List<AttentionSegment> single = new ArrayList<>();
    List<AttentionSegment> several = new ArrayList<>();
    for (AttentionSegment segment : segments) {
      if (segment.rowCount() > 0) {
        (segment.rowCount() == 1 ? single : several).add(segment);
      }
    }
    out.written(rows(segments));
    if (!single.isEmpty()) {
      decode(queries, shape, memory, single, out, several.isEmpty() ? 0 : out.bf16Address());
    }
    if (!several.isEmpty()) {
      prefill(queries, shape, memory, several, out);
      out.roundedRows = out.bf16Address() == 0 ? 0 : out.writtenRows;
    }
    mass.wanted(memory, segments);
  }

  private static boolean wantMass(List<AttentionSegment> segments) {
    for (AttentionSegment segment : segments) {
      for (HeadPages pages : segment.heads()) {
        if (pages.wantMass) {
          return true;
        }
      }
    }
    return false;
  }

  private void decode(
      CudaActivations queries,
      AttentionShape shape,
      CudaPageMemory memory,
      List<AttentionSegment> segments,
      CudaActivations out,
      long outBf16) {
    DecodeParts parts = DecodeParts.of(shape, memory.layout(), segments, mostParts());
    long perPart = 8L * shape.groupSize() + 4L * shape.groupSize() * shape.headSize();
    long room = scratch.bytes() - 4L * DeviceMemory.ALIGNMENT;
    if (parts.paddedCount() * perPart > room && segments.size() > 1) {
      // As many segments at a time as the scratch memory has room for.
      int half = segments.size() / 2;
      decode(queries, shape, memory, segments.subList(0, half), out, outBf16);
      decode(queries, shape, memory, segments.subList(half, segments.size()), out, outBf16);
      return;
    }
    Tables t = tables(shape, memory, segments);
    work.tables.prepare(16L * parts.paddedCount() + 8L * parts.heads(), 2);
    PassTables.Table partTable = work.tables.ints(4L * parts.paddedCount());
    PassTables.Table headParts = work.tables.ints(2L * parts.heads());
    parts.fill(partTable.ints(), headParts.ints());
    scratch.begin();
    int group = shape.groupSize();
    long states = scratch.take("attention's parts", 8L * parts.paddedCount() * group);
    long sums =
        scratch.take("attention's parts", 4L * parts.paddedCount() * group * shape.headSize());
    boolean wanted = wantMass(segments);
    long pageSums = wanted ? memory.pageSums(group) : 0;
    int partTokens = parts.partPages() * memory.layout().pageTokens();
    work.launchShared(
        "attend_decode",
        parts.paddedCount(),
        1,
        1,
        128,
        decodeSharedBytes(shape, partTokens, parts.partPages()),
        queries.address(),
        shape.heads(),
        shape.kvHeads(),
        shape.headSize(),
        shape.scale(),
        shape.window(),
        memory.layout().pageTokens(),
        t.segments(),
        t.heads(),
        t.pages(),
        partTable.address(),
        t.pool(),
        states,
        sums,
        pageSums);
    work.launch(
        "merge_decode",
        segments.size() * shape.kvHeads(),
        group,
        1,
        128,
        shape.heads(),
        shape.kvHeads(),
        shape.headSize(),
        t.segments(),
        t.heads(),
        partTable.address(),
        headParts.address(),
        states,
        sums,
        pageSums,
        out.address(),
        outBf16,
        wanted ? memory.tables().massAddress() : 0L);
  }

  private int mostParts() {
    return PARTS_PER_MULTIPROCESSOR * work.gpu.multiprocessors();
  }

  static int partPages(long tokens, int mostParts, int pageTokens) {
    int part = LEAST_PART_TOKENS;
    while (part < MOST_PART_TOKENS && tokens > (long) part * mostParts) {
      part *= 2;
    }
    return Math.max(1, part / pageTokens);
  }

  private static long decodeSharedBytes(AttentionShape shape, int partTokens, int partPages) {
    long group = shape.groupSize();
    long floats =
        group * partTokens
            + 4 * Math.min(group, 4) * shape.headSize()
            + 2 * group
            + group * shape.headSize();
    return (4 * floats + 8L * partPages + 15) / 16 * 16;
  }

  /** Values of a row in the prefill kernels' shared memory. */
  private static int sharedRow(AttentionShape shape) {
    int size = shape.headSize();
    return 8 + (size <= 64 ? 64 : size <= 96 ? 96 : size <= 128 ? 128 : 256);
  }

  private void prefill(
      CudaActivations queries,
      AttentionShape shape,
      CudaPageMemory memory,
      List<AttentionSegment> segments,
      CudaActivations out) {
    Tables t = tables(shape, memory, segments);
    int mostRows = 0;
    int mostPages = 0;
    int lastRow = 0;
    for (AttentionSegment segment : segments) {
      mostRows = Math.max(mostRows, segment.rowCount());
      lastRow = Math.max(lastRow, segment.firstRow() + segment.rowCount());
      for (HeadPages pages : segment.heads()) {
        mostPages = Math.max(mostPages, pages.count);
      }
    }
    boolean wanted = wantMass(segments);
    scratch.begin();
    long logSums = wanted ? scratch.take("attention's rows", 4L * lastRow * shape.heads()) : 0L;
    work.launchShared(
        "attend_prefill",
        divideUp(mostRows * shape.groupSize(), TILE_ROWS),
        shape.kvHeads(),
        segments.size(),
        128,
        2L * sharedRow(shape) * (64 + 4 * (shape.headSize() <= 128 ? 64 : 32)),
        queries.address(),
        shape.heads(),
        shape.kvHeads(),
        shape.headSize(),
        shape.scale(),
        shape.window(),
        memory.layout().pageTokens(),
        t.segments(),
        t.heads(),
        t.pages(),
        t.pool(),
        out.address(),
        out.bf16Address(),
        logSums);
    if (wanted) {
      work.launchShared(
          "mass_prefill",
          divideUp(mostPages * memory.layout().pageTokens(), TILE_TOKENS),
          shape.kvHeads(),
          segments.size(),
          128,
          2L * sharedRow(shape) * 128,
          queries.address(),
          shape.heads(),
          shape.kvHeads(),
          shape.headSize(),
          shape.scale(),
          shape.window(),
          memory.layout().pageTokens(),
          t.segments(),
          t.heads(),
          t.pages(),
          t.pool(),
          logSums,
          memory.tables().massAddress());
    }
  }
}
