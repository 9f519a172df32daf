package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.util.Arrays;
import java.util.Objects;

/**
 * Tiles of prefill attention in C, in one thread's scratch. Blocks are counted from a head's first
 * page: a row's result depends neither on its tile nor on the chunk.
 */
final class NativePrefillAttention {
  private static final int MAX_HEAD_SIZE = 256;
  private static final int HEAD_SIZE_UNIT = 32;
  private static final int INT8_HEAD_SIZE_UNIT = 64;

  // As in prefill_call.h.
  private static final int BLOCK = 128;
  private static final int MAX_SLABS = 128;

  // Words of a call, as there, and of each page after them.
  private static final int HEAD_SIZE = 0;
  private static final int GROUP = 1;
  private static final int ROWS = 2;
  private static final int FIRST_POSITION = 3;
  private static final int WINDOW = 4;
  private static final int PAGE_TOKENS = 5;
  private static final int PAGE_COUNT = 6;
  private static final int FIRST_BLOCK = 7;
  private static final int BLOCKS = 8;
  private static final int FORMAT = 9;
  private static final int HEADER = 10;
  private static final int PAGE_WORDS = 4;

  /** Operations of a call: one to three milliseconds, since the garbage collector waits for it. */
  private static final long CALL_OPERATIONS = 300_000_000;

  private final PrefillKernels kernels;

  /** Of 8-bit pages, which the matrix unit's kernels do not read. */
  private final PrefillKernels bytesKernels;

  private final int maxSlabs;
  private final long callOperations;
  private final int[][] slabs;
  private int[] call = new int[HEADER + 64 * PAGE_WORDS];
  private float[] scratch = {};

  /**
   * Native code writes to arrays of this thread's own: a JVM may give it a copy and write all of it
   * back, over what other threads have written meanwhile ({@code -Xcheck:jni} does).
   */
  private float[] results = {};

  private float[] mass = {};

  // The tile at hand.
  private PrefillKernels own;
  private CpuPageMemory memory;
  private HeadPages pages;
  private int slabCount;

  NativePrefillAttention(NativeLevel level) {
    this(level, MAX_SLABS, CALL_OPERATIONS);
  }

  /** With shorter calls; a block's pages must fit the slabs. */
  NativePrefillAttention(NativeLevel level, int maxSlabs, long callOperations) {
    kernels = PrefillKernels.at(level);
    bytesKernels = level == NativeLevel.AMX ? PrefillKernels.at(NativeLevel.BF16) : kernels;
    this.maxSlabs = maxSlabs;
    this.callOperations = callOperations;
    slabs = new int[maxSlabs][];
  }

  /** Whether pages of this layout can be attended to here, given the kernels. */
  static boolean supports(PageLayout layout) {
    return layout.headSize() <= MAX_HEAD_SIZE
        && switch (layout.format()) {
          case BF16 -> layout.headSize() % HEAD_SIZE_UNIT == 0;
          case INT8 -> layout.headSize() % INT8_HEAD_SIZE_UNIT == 0;
          case F32 -> false;
        };
  }

  void attend(
      PrefillAttention.Item item,
      CpuActivations x,
      AttentionShape shape,
      CpuPageMemory memory,
      CpuActivations out,
      float[] masses) {
    AttentionSegment segment = item.segment();
    this.memory = memory;
    own = memory.layout().format() == KvFormat.INT8 ? bytesKernels : kernels;
    pages = segment.heads()[item.head()];
    int firstPosition = segment.firstPosition() + item.row();
    describe(item, shape, firstPosition);
    int row = segment.firstRow() + item.row();
    int columns = shape.groupSize() * shape.headSize();
    int column = item.head() * columns;
    int from =
        VisiblePages.firstPage(pages, VisiblePages.windowStart(firstPosition, shape.window()));
    int to = Math.max(from, VisiblePages.pageLimit(pages, firstPosition + item.rows() - 1));
    try {
      int queries = offset(x, row, item.rows(), column, columns);
      own.begin(call, scratch, x.values(), queries, x.columns(), shape.scale());
      run(from, to, null);
      own.finish(call, scratch, results);
      copyResults(item.rows(), columns, out, offset(out, row, item.rows(), column, columns));
      if (pages.wantMass) {
        Arrays.fill(mass, 0, pages.count, 0f);
        run(from, to, mass);
        System.arraycopy(mass, 0, masses, item.massOffset(), pages.count);
      }
    } finally {
      Arrays.fill(slabs, null);
    }
  }

  private void describe(PrefillAttention.Item item, AttentionShape shape, int firstPosition) {
    int rows = item.rows() * shape.groupSize();
    int size = own.scratchFloats(shape.headSize(), rows);
    if (scratch.length < size) {
      scratch = new float[size];
    }
    if (results.length < rows * shape.headSize()) {
      results = new float[rows * shape.headSize()];
    }
    if (pages.wantMass && mass.length < pages.count) {
      mass = new float[pages.slots.length];
    }
    call[HEAD_SIZE] = shape.headSize();
    call[GROUP] = shape.groupSize();
    call[ROWS] = rows;
    call[FIRST_POSITION] = firstPosition;
    call[WINDOW] = shape.window();
    call[PAGE_TOKENS] = memory.layout().pageTokens();
    call[FORMAT] = memory.layout().format().ordinal();
  }

  private void copyResults(int rows, int columns, CpuActivations out, int offset) {
    for (int row = 0; row < rows; row++) {
      System.arraycopy(results, row * columns, out.values(), offset + row * out.columns(), columns);
    }
  }

  private static int offset(CpuActivations x, int row, int rows, int column, int columns) {
    Objects.checkFromIndexSize(row, rows, x.rows());
    Objects.checkFromIndexSize(column, columns, x.columns());
    return row * x.columns() + column;
  }

  /** Runs over the blocks that hold pages {@code [from, to)}; adds masses where there are any. */
  private void run(int from, int to, float[] masses) {
    int pageTokens = memory.layout().pageTokens();
    int block = from * pageTokens / BLOCK;
    while (from < to && block * BLOCK < to * pageTokens) {
      int firstPage = block * BLOCK / pageTokens;
      int blocks = plan(block, to);
      if (masses == null) {
        own.attend(call, scratch, slabs, slabCount);
      } else {
        own.addMass(call, scratch, slabs, slabCount, masses, firstPage);
      }
      block += blocks;
    }
  }

  /** Lays out a call from a block on, at most to the end of page {@code to - 1}. */
  private int plan(int firstBlock, int to) {
    PageLayout layout = memory.layout();
    int pageTokens = layout.pageTokens();
    int firstPage = firstBlock * BLOCK / pageTokens;
    int rows = (call[ROWS] + 15) / 16 * 16;
    long operationsOfBlock = 4L * BLOCK * rows * layout.headSize();
    int limit = (int) Math.max(1, callOperations / operationsOfBlock);
    slabCount = 0;
    int count = 0;
    int blocks = 0;
    while (blocks < limit && (firstBlock + blocks) * BLOCK < to * pageTokens) {
      int end = Math.min(to, ((firstBlock + blocks + 1) * BLOCK + pageTokens - 1) / pageTokens);
      int added = count;
      while (firstPage + added < end && put(added, firstPage + added)) {
        added++;
      }
      if (firstPage + added < end) {
        break;
      }
      count = added;
      blocks++;
    }
    call[PAGE_COUNT] = count;
    call[FIRST_BLOCK] = firstBlock;
    call[BLOCKS] = blocks;
    return blocks;
  }

  /** Lays out a page of a call; returns false when the call has all the slabs it may. */
  private boolean put(int index, int page) {
    PageLayout layout = memory.layout();
    int slot = pages.slots[page];
    int[] slab = memory.slab(slot);
    int offset = memory.offset(slot);
    Objects.checkFromIndexSize(offset, layout.wordsPerPage(), slab.length);
    Objects.checkIndex(pages.tokenCounts[page], layout.pageTokens() + 1);
    int slabAt = slabIndex(slab);
    if (slabAt == maxSlabs) {
      return false;
    }
    int at = HEADER + index * PAGE_WORDS;
    if (call.length < at + PAGE_WORDS) {
      call = Arrays.copyOf(call, 2 * call.length);
    }
    call[at] = slabAt;
    call[at + 1] = offset;
    call[at + 2] = pages.firstPositions[page];
    call[at + 3] = pages.tokenCounts[page];
    return true;
  }

  /**
   * Where the call has a slab, taking it in; the limit, which a block's pages cannot fill, if full.
   */
  private int slabIndex(int[] slab) {
    for (int i = slabCount - 1; i >= 0; i--) {
      if (slabs[i] == slab) {
        return i;
      }
    }
    if (slabCount == maxSlabs) {
      return maxSlabs;
    }
    slabs[slabCount] = slab;
    return slabCount++;
  }
}
