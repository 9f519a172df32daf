package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.KeyRotation;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.model.AttentionShape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Makes sketches of keys and scores queries against them. */
final class SketchOperations {
  private static final int PART_TOKENS = 2048;

  /** Addresses of a head's codes, step sizes, centre and channels. */
  private static final long TARGET_BYTES = 32;

  private final GpuWork work;
  private final Scratch scratch;

  private final RopeTurns ropes;

  /** By head size: the rotation in device memory. */
  private final Map<Integer, Long> rotations = new HashMap<>();

  SketchOperations(GpuWork work, Scratch scratch) {
    this.work = work;
    this.scratch = scratch;
    this.ropes = new RopeTurns(work);
  }

  /** Takes memory for a head size; before the pool takes the rest. */
  long rotation(int headSize) {
    return rotations.computeIfAbsent(headSize, this::upload);
  }

  private long upload(int headSize) {
    long address = work.memory.take("key rotation", 4L * headSize * headSize);
    PinnedMemory pinned = work.driver.allocatePinned(4L * headSize * headSize);
    FloatBuffer values = pinned.view().asFloatBuffer();
    for (double[] row : KeyRotation.orthonormal(headSize)) {
      for (double value : row) {
        values.put((float) value);
      }
    }
    work.driver.copy(address, pinned.address(), pinned.bytes(), work.computeStream);
    work.driver.synchronize(work.computeStream);
    work.driver.free(pinned);
    return address;
  }

  /** See {@link dev.kvfreeze.device.Device#sketchKeys}. */
  void sketch(CudaPageMemory memory, List<SketchedPage> pages) {
    if (pages.isEmpty()) {
      return;
    }
    int batch = 0;
    int tokens = 0;
    Map<CudaKeySketches, Integer> targets = new LinkedHashMap<>();
    for (SketchedPage page : pages) {
      targets.putIfAbsent((CudaKeySketches) page.target(), targets.size());
      batch = Math.max(batch, memory.moves().batchOf(page.slot()));
      tokens = Math.max(tokens, (page.page() + 1) * page.target().pageTokens());
    }
    if (memory.moves().mustWait(batch)) {
      work.flush();
      memory.moves().awaitBatch(batch);
    }
    CudaKeySketches any = (CudaKeySketches) pages.get(0).target();
    RopeTurns.Table turns = ropes.of(any.rope(), tokens);
    work.tables.prepare((TARGET_BYTES + 8) * targets.size() + 8 + 24L * pages.size(), 4);
    PassTables.Table targetTable = targetTable(targets);
    PassTables.Table jobs = work.tables.ints(4L * pages.size());
    IntBuffer jobInts = jobs.ints();
    for (SketchedPage page : pages) {
      jobInts.put(targets.get((CudaKeySketches) page.target())).put(page.page());
      jobInts.put(page.slot()).put(0);
    }
    makeCentres(memory, pages, targets, targetTable.address(), turns);
    work.launchShared(
        "sketch_keys",
        pages.size(),
        1,
        1,
        128,
        8L * any.headSize() * 4,
        memory.poolAddress(),
        any.pageTokens(),
        any.headSize(),
        any.codes(),
        any.planes(),
        rotation(any.headSize()),
        targetTable.address(),
        jobs.address(),
        turns.blocks,
        turns.offsets,
        turns.pairs(),
        turns.halfSplit());
    for (SketchedPage page : pages) {
      page.target().pages = Math.max(page.target().pages, page.page() + 1);
    }
  }

  private PassTables.Table targetTable(Map<CudaKeySketches, Integer> targets) {
    PassTables.Table table = work.tables.table(TARGET_BYTES * targets.size());
    LongBuffer addresses = table.content().asLongBuffer();
    for (CudaKeySketches target : targets.keySet()) {
      put(addresses, target);
    }
    return table;
  }

  private static void put(LongBuffer addresses, CudaKeySketches target) {
    long centre = target.tokens() == 0 ? 0 : target.centreAddress();
    addresses.put(target.bitsAddress()).put(target.stepsAddress()).put(centre);
    addresses.put(target.channelsAddress());
  }

  private void makeCentres(
      CudaPageMemory memory,
      List<SketchedPage> pages,
      Map<CudaKeySketches, Integer> targets,
      long targetTable,
      RopeTurns.Table turns) {
    Map<CudaKeySketches, List<SketchedPage>> uncentred = new LinkedHashMap<>();
    int total = 0;
    for (SketchedPage page : pages) {
      CudaKeySketches target = (CudaKeySketches) page.target();
      if (!target.hasCentre()) {
        uncentred.computeIfAbsent(target, unused -> new ArrayList<>()).add(page);
        total++;
      }
    }
    if (uncentred.isEmpty()) {
      return;
    }
    PassTables.Table ranges = work.tables.ints(2L * (uncentred.size() + 1));
    PassTables.Table pageTable = work.tables.ints(2L * total);
    IntBuffer rangeInts = ranges.ints();
    IntBuffer pageInts = pageTable.ints();
    int filled = 0;
    for (Map.Entry<CudaKeySketches, List<SketchedPage>> entry : uncentred.entrySet()) {
      rangeInts.put(targets.get(entry.getKey())).put(filled);
      for (SketchedPage page : entry.getValue()) {
        pageInts.put(page.slot()).put(page.page());
      }
      filled += entry.getValue().size();
      entry.getKey().centreMade();
    }
    rangeInts.put(0).put(filled);
    CudaKeySketches any = uncentred.keySet().iterator().next();
    work.launch(
        "sketch_centre",
        uncentred.size(),
        1,
        1,
        256,
        memory.poolAddress(),
        any.pageTokens(),
        any.headSize(),
        targetTable,
        ranges.address(),
        pageTable.address(),
        turns.blocks,
        turns.offsets,
        turns.pairs(),
        turns.halfSplit());
  }

  /** See {@link dev.kvfreeze.device.Device#scoreSketches}. */
  void score(CudaActivations queries, AttentionShape shape, List<SketchSegment> segments) {
    if (segments.isEmpty()) {
      return;
    }
    SketchParts parts = SketchParts.of(shape, segments, PART_TOKENS);
    if (parts.count() == 0) {
      clear(segments);
      return;
    }
    KeySketches any = segments.get(0).heads()[0];
    int heads = segments.size() * shape.kvHeads();
    int group = shape.groupSize();
    work.tables.prepare(
        (TARGET_BYTES + 12) * heads + 16L * parts.count() + 28L * segments.size(), 6);
    PassTables.Table targetTable = work.tables.table(TARGET_BYTES * heads);
    PassTables.Table rows = work.tables.ints(segments.size());
    PassTables.Table positions = work.tables.ints(4L * segments.size());
    PassTables.Table partTable = work.tables.ints(4L * parts.count());
    PassTables.Table headParts = work.tables.ints(2L * heads);
    PassTables.Table offsets = work.tables.ints(heads);
    LongBuffer addresses = targetTable.content().asLongBuffer();
    IntBuffer rowInts = rows.ints();
    IntBuffer positionInts = positions.ints();
    int tokens = 0;
    for (SketchSegment segment : segments) {
      rowInts.put(segment.row());
      positionInts.put(segment.position()).put(0).put(0).put(0);
      for (KeySketches sketches : segment.heads()) {
        put(addresses, (CudaKeySketches) sketches);
        tokens = Math.max(tokens, sketches.pages * sketches.pageTokens());
      }
    }
    parts.fill(partTable.ints(), headParts.ints(), offsets.ints());
    RopeTurns.Table turns = ropes.of(any.rope(), tokens);
    int queryCount = segments.size() * shape.heads();
    scratch.begin();
    long prepared = scratch.take("queries", 4L * queryCount * any.codes());
    long waves = scratch.take("queries", 8L * queryCount * turns.pairs());
    long excess = scratch.take("queries", 4L * queryCount);
    long states = scratch.take("scores", 8L * parts.count() * group);
    long sums = scratch.take("scores", 4L * parts.pages() * group);
    long mass = scratch.take("scores", 4L * parts.massPages());
    work.launchShared(
        "prepare_queries",
        shape.heads(),
        segments.size(),
        1,
        128,
        4L * shape.headSize(),
        queries.address(),
        shape.heads(),
        shape.kvHeads(),
        shape.headSize(),
        any.codes(),
        shape.scale(),
        any.errorVariance(),
        rotation(shape.headSize()),
        targetTable.address(),
        turns.pairs(),
        turns.halfSplit(),
        rows.address(),
        prepared,
        waves,
        excess);
    int partTokens = (parts.mostTokens() + 63) / 64 * 64 + 64;
    work.launchShared(
        "score_sketches",
        parts.count(),
        1,
        1,
        256,
        4L * group * (2 * turns.pairs() + any.codes() + partTokens),
        prepared,
        waves,
        excess,
        shape.heads(),
        shape.kvHeads(),
        any.codes(),
        any.planes(),
        any.pageTokens(),
        shape.window(),
        turns.blocks,
        turns.offsets,
        turns.pairs(),
        targetTable.address(),
        positions.address(),
        partTable.address(),
        states,
        sums);
    work.launch(
        "merge_sketches",
        heads,
        1,
        1,
        256,
        shape.heads(),
        shape.kvHeads(),
        partTable.address(),
        headParts.address(),
        offsets.address(),
        states,
        sums,
        mass);
    fill(segments, parts, work.read(mass, Math.toIntExact(4L * parts.massPages())));
  }

  private static void clear(List<SketchSegment> segments) {
    for (SketchSegment segment : segments) {
      for (KeySketches sketches : segment.heads()) {
        Arrays.fill(sketches.mass, 0, sketches.pages, 0);
      }
    }
  }

  private static void fill(List<SketchSegment> segments, SketchParts parts, ByteBuffer bytes) {
    FloatBuffer mass = bytes.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
    int head = 0;
    for (SketchSegment segment : segments) {
      for (KeySketches sketches : segment.heads()) {
        int first = Math.min(parts.firstPage(head), sketches.pages);
        Arrays.fill(sketches.mass, 0, first, 0);
        mass.get(parts.massOffset(head) + first, sketches.mass, first, sketches.pages - first);
        head++;
      }
    }
  }
}
