package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.DecodePlan.HEAD_FIRST_PART;
import static dev.kvfreeze.device.cpu.DecodePlan.HEAD_OUT_AT;
import static dev.kvfreeze.device.cpu.DecodePlan.HEAD_PARTS;
import static dev.kvfreeze.device.cpu.DecodePlan.HEAD_QUERIES_AT;
import static dev.kvfreeze.device.cpu.DecodePlan.PART_MASS_AT;
import static dev.kvfreeze.device.cpu.DecodePlan.PART_PAGES;

import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.Objects;

/**
 * Attention of single rows in C, over bfloat16 pages: scores, softmax, weighted values and masses
 * of a run of parts in one call, which also asks for the pages ahead. Whoever ends a head's last
 * part joins its parts, so nothing is left for one thread alone.
 */
final class NativeDecodeAttention {
  /** Most pages of a call, which bounds its slabs too: about 4 MiB and 200 microseconds. */
  private static final int CALL_PAGES = 1024;

  /** Products of a query and a key below which a parallel region costs more than it gains. */
  private static final long PARALLEL_PRODUCTS = 1 << 17;

  /** Parts up to which two calls a thread beat an even end: a call costs half a microsecond. */
  private static final int FEW_PARTS = 64;

  private static final int LANES = 16;

  // Fields of a part and of a page in a call's array, as in decode_call.h.
  private static final int RUN_FIELDS = 3;
  private static final int PAGE_FIELDS = 3;

  private final WorkerPool pool;
  private final NativeLevel level;
  private final Worker[] workers;
  private float[] results = {};
  private float[] masses = {};

  /**
   * With kernels up to a level.
   *
   * @throws IllegalArgumentException when this processor has less
   */
  NativeDecodeAttention(WorkerPool pool, NativeLevel level) {
    // Asking also loads the library.
    if (level != NativeLevel.NONE && !NativeLibrary.has(level)) {
      throw new IllegalArgumentException(
          "native kernels of level "
              + level
              + " where there are those of "
              + NativeLibrary.level());
    }
    this.pool = pool;
    this.level = level;
    workers = new Worker[pool.threads()];
    for (int i = 0; i < workers.length; i++) {
      workers[i] = new Worker();
    }
  }

  /** Whether there are kernels for such pages. */
  boolean knows(PageLayout layout) {
    int headSize = layout.headSize();
    return level != NativeLevel.NONE
        && headSize <= 256
        && switch (layout.format()) {
          case BF16 -> headSize % LANES == 0 && headSize >= 2 * LANES;
          case INT8 -> headSize % (4 * LANES) == 0;
          case F32 -> false;
        };
  }

  /** Attends what is planned. */
  void attend(
      DecodePlan plan,
      CpuActivations queries,
      AttentionShape shape,
      CpuPageMemory memory,
      CpuActivations out) {
    int group = shape.groupSize();
    int headSize = shape.headSize();
    for (int head = 0; head < plan.headCount(); head++) {
      int size = group * headSize;
      Objects.checkFromIndexSize(plan.head(head, HEAD_QUERIES_AT), size, queries.values().length);
      Objects.checkFromIndexSize(plan.head(head, HEAD_OUT_AT), size, out.values().length);
    }
    results = grown(results, Math.multiplyExact(plan.partCount() * group, headSize + 2));
    // The masses by query, and behind them those of the pages.
    masses = grown(masses, Math.multiplyExact(plan.massPages(), group + 1));
    RangeTask task =
        (worker, from, to) -> workers[worker].attend(plan, from, to, queries, shape, memory, out);
    int count = plan.partCount();
    if (plan.mostTokens() * group * headSize < PARALLEL_PRODUCTS) {
      task.run(0, 0, count);
    } else if (count <= FEW_PARTS) {
      int ranges = 2 * pool.threads();
      pool.parallelFor(count, (count + ranges - 1) / ranges, task);
    } else {
      pool.parallelForEven(count, task);
    }
    for (int head = 0; head < plan.headCount(); head++) {
      copyMasses(plan, head, group);
    }
  }

  private void copyMasses(DecodePlan plan, int head, int group) {
    HeadPages pages = plan.headPages(head);
    if (!pages.wantMass) {
      return;
    }
    Arrays.fill(pages.mass, 0, pages.count, 0f);
    int first = plan.head(head, HEAD_FIRST_PART);
    int from = plan.from(first);
    int count = plan.to(first + plan.head(head, HEAD_PARTS) - 1) - from;
    int at = plan.massPages() * group + plan.part(first, PART_MASS_AT);
    System.arraycopy(masses, at, pages.mass, from, count);
  }

  private static float[] grown(float[] array, int size) {
    return array.length >= size ? array : new float[Math.max(size, 2 * array.length)];
  }

  /** What one thread works in. */
  private final class Worker {
    private float[] scratch = {};

    /** Of a call: its parts' fields, its pages' fields, the numbers of the slabs that it needs. */
    private int[] run = {};

    private int slabCount;

    /** By slab of the memory: one more than its place in the call, 0 where not needed. */
    private int[] places = {};

    void attend(
        DecodePlan plan,
        int from,
        int to,
        CpuActivations queries,
        AttentionShape shape,
        CpuPageMemory memory,
        CpuActivations out) {
      PageLayout layout = memory.layout();
      int group = shape.groupSize();
      int mostTokens = Math.max(DecodePlan.PART_TOKENS, layout.pageTokens());
      // A register may be written behind the last token.
      int stride = (mostTokens + LANES - 1) / LANES * LANES + LANES;
      scratch = grown(scratch, group * (layout.headSize() + stride));
      int begin = from;
      while (begin < to) {
        int end = end(plan, begin, to);
        int slabsAt = pack(plan, begin, end, memory);
        boolean held =
            attendParts(
                queries.values(),
                out.values(),
                plan.heads(),
                plan.parts(),
                begin,
                end,
                run,
                slabsAt,
                slabCount,
                memory.slabs(),
                results,
                masses,
                plan.massPages() * group,
                scratch,
                stride,
                layout.headSize(),
                layout.format().ordinal(),
                layout.pageTokens(),
                group,
                shape.scale());
        if (!held) {
          throw new OutOfMemoryError("Java could not hand its arrays to the attention kernel");
        }
        begin = end;
      }
    }

    private int end(DecodePlan plan, int begin, int to) {
      int end = begin + 1;
      int pages = plan.part(begin, PART_PAGES);
      while (end < to && pages + plan.part(end, PART_PAGES) <= CALL_PAGES) {
        pages += plan.part(end, PART_PAGES);
        end++;
      }
      return end;
    }

    /** Fills {@link #run} and returns where the slabs' numbers begin. */
    private int pack(DecodePlan plan, int begin, int end, CpuPageMemory memory) {
      if (places.length < memory.slabs().length) {
        places = new int[memory.slabs().length];
      }
      int pages = 0;
      for (int part = begin; part < end; part++) {
        pages += plan.part(part, PART_PAGES);
      }
      int at = (end - begin) * RUN_FIELDS;
      int slabsAt = at + pages * PAGE_FIELDS;
      if (run.length < slabsAt + pages) {
        run = new int[slabsAt + pages];
      }
      slabCount = 0;
      try {
        for (int part = begin; part < end; part++) {
          int tokens = packPages(plan, part, memory, at, slabsAt);
          int fields = (part - begin) * RUN_FIELDS;
          run[fields] = tokens;
          run[fields + 1] = Math.min(tokens, plan.hiddenBefore(part));
          run[fields + 2] = Math.min(tokens, plan.hiddenAfter(part));
          at += plan.part(part, PART_PAGES) * PAGE_FIELDS;
        }
      } finally {
        for (int i = 0; i < slabCount; i++) {
          places[run[slabsAt + i]] = 0;
        }
      }
      return slabsAt;
    }

    private int packPages(DecodePlan plan, int part, CpuPageMemory memory, int from, int slabsAt) {
      HeadPages pages = plan.pagesOf(part);
      int words = memory.layout().wordsPerPage();
      int pageTokens = memory.layout().pageTokens();
      int tokens = 0;
      int at = from;
      for (int page = plan.from(part); page < plan.to(part); page++) {
        int slot = pages.slots[page];
        int slab = memory.slabNumber(slot);
        int offset = memory.offset(slot);
        Objects.checkFromIndexSize(offset, words, memory.slabs()[slab].length);
        int place = places[slab];
        if (place == 0) {
          run[slabsAt + slabCount++] = slab;
          place = slabCount;
          places[slab] = place;
        }
        int count = pages.tokenCounts[page];
        Objects.checkIndex(count, pageTokens + 1);
        run[at] = place - 1;
        run[at + 1] = offset;
        run[at + 2] = count;
        at += PAGE_FIELDS;
        tokens += count;
      }
      return tokens;
    }
  }

  /**
   * Attends the parts {@code [from, to)} of the plan and joins the parts of the heads that this
   * completes.
   *
   * @param run fields of the call's parts and of its pages; from {@code slabsAt} the numbers of its
   *     slabs
   * @param results for each part of the plan maxima and sums of weights by query, then the weighted
   *     values
   * @param masses by page of the plan and query; from {@code pageMassesAt} by page
   * @param scratch scaled queries, then rows of {@code stride} scores
   * @return whether Java handed out the arrays
   */
  private static native boolean attendParts(
      float[] queries,
      float[] out,
      int[] heads,
      int[] parts,
      int from,
      int to,
      int[] run,
      int slabsAt,
      int slabCount,
      int[][] slabs,
      float[] results,
      float[] masses,
      int pageMassesAt,
      float[] scratch,
      int stride,
      int headSize,
      int format,
      int pageTokens,
      int group,
      float scale);
}
