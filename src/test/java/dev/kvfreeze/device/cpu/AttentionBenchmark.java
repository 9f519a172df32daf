package dev.kvfreeze.device.cpu;

import com.sun.management.ThreadMXBean;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.model.AttentionShape;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Attention in the shape of SmolLM2-135M (9 heads, 3 KV heads of 64, 30 layers), all layers of one
 * pass: decode against the bandwidth of reading the same slabs, prefill in GFLOP/s. Start it in
 * several JVMs: a kernel that C2 leaves boxed in one may be fast in the next. Prefill is measured
 * with the vector kernels and, where the processor has a matrix unit, with the native ones.
 *
 * <p>{@code java --add-modules jdk.incubator.vector -cp target/classes:target/test-classes
 * dev.kvfreeze.device.cpu.AttentionBenchmark [threads [NONE|AVX512|AMX]]}
 */
final class AttentionBenchmark {
  private static final int LAYERS = 30;
  private static final AttentionShape SHAPE = new AttentionShape(9, 3, 64, 0.125f, 0);
  private static final long RUN_NANOS = 1_000_000_000L;

  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private final WorkerPool pool;
  private final PagedAttention attention;
  private final NativeLevel level;

  /** Bytes that the last pass allocated on this thread: boxed vectors show here. */
  private long allocated;

  private AttentionBenchmark(WorkerPool pool, NativeLevel level) {
    this.pool = pool;
    this.level = level;
    attention = new PagedAttention(pool, new VectorAttentionKernels(), level);
  }

  public static void main(String[] arguments) {
    int threads = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 2;
    NativeLevel level =
        arguments.length > 1 ? NativeLevel.valueOf(arguments[1]) : NativeLibrary.level();
    System.out.printf("java %s, %d threads, native %s%n", Runtime.version(), threads, level);
    try (WorkerPool pool = new WorkerPool(threads)) {
      AttentionBenchmark benchmark = new AttentionBenchmark(pool, level);
      for (int page : new int[] {16, 8, 1}) {
        for (int context : new int[] {128, 900, 2048, 8192}) {
          benchmark.decode(context, page, false);
        }
      }
      benchmark.decode(8192, 16, true);
      List<AttentionBenchmark> prefills = new ArrayList<>();
      prefills.add(new AttentionBenchmark(pool, NativeLevel.NONE));
      for (NativeLevel each : NativeLevel.values()) {
        if (level != NativeLevel.NONE && NativeLibrary.has(each)) {
          prefills.add(new AttentionBenchmark(pool, each));
        }
      }
      for (int page : new int[] {16, 8, 1}) {
        for (AttentionBenchmark prefill : prefills) {
          prefill.prefill(page, false);
          prefill.prefill(page, true);
        }
      }
    }
  }

  private void decode(int context, int page, boolean mass) {
    Layers layers = new Layers(context, page, 1, mass);
    double seconds = best(() -> layers.attend());
    double bytes = (double) LAYERS * SHAPE.kvHeads() * context * 2 * SHAPE.headSize() * 2;
    long allocatedByPass = allocated;
    double roof = best(layers::readAll);
    System.out.printf(
        "decode %5d, pages of %2d%s: %7.3f ms, %5.1f GB/s, read roof %5.1f GB/s, %3.0f %%, %d KB allocated%n",
        context,
        page,
        mass ? ", mass" : "",
        seconds * 1e3,
        bytes / seconds / 1e9,
        bytes / roof / 1e9,
        100 * roof / seconds,
        allocatedByPass >> 10);
  }

  private void prefill(int page, boolean mass) {
    int context = 8192;
    int rows = 512;
    Layers layers = new Layers(context, page, rows, mass);
    double seconds = best(() -> layers.attendOne());
    // Two products of two operations, over the causal part.
    double seen = context - rows / 2.0;
    double flops = 4.0 * rows * seen * SHAPE.heads() * SHAPE.headSize();
    System.out.printf(
        "prefill %s, %d rows at %d, pages of %2d%s: %7.2f ms a layer, %5.0f GFLOP/s, %d KB allocated%n",
        level == NativeLevel.NONE ? "vector" : level.name(),
        rows,
        context,
        page,
        mass ? ", mass" : "",
        seconds * 1e3,
        flops / seconds / 1e9,
        allocated >> 10);
  }

  /** The shortest of many passes, in seconds; with one thread, of its CPU time. */
  private double best(Runnable pass) {
    boolean alone = pool.threads() == 1;
    long start = System.nanoTime();
    double best = Double.MAX_VALUE;
    do {
      long allocatedBefore = THREADS.getCurrentThreadAllocatedBytes();
      long before = alone ? THREADS.getCurrentThreadCpuTime() : System.nanoTime();
      pass.run();
      long after = alone ? THREADS.getCurrentThreadCpuTime() : System.nanoTime();
      best = Math.min(best, (after - before) * 1e-9);
      allocated = THREADS.getCurrentThreadAllocatedBytes() - allocatedBefore;
    } while (System.nanoTime() - start < RUN_NANOS);
    return best;
  }

  /** Page memory of all layers, slots scattered, with one sequence. */
  private final class Layers {
    private final CpuPageMemory memory;
    private final List<List<AttentionSegment>> segments;
    private final CpuActivations queries;
    private final CpuActivations out;
    private final int slots;
    private final int[] sinks = new int[16 * pool.threads()];
    private int layer;

    Layers(int context, int page, int rows, boolean mass) {
      PageLayout layout = new PageLayout(SHAPE.headSize(), page, KvFormat.BF16);
      int pages = (context + page - 1) / page;
      slots = LAYERS * SHAPE.kvHeads() * pages;
      memory = new CpuPageMemory(layout, (long) slots * layout.pageBytes());
      memory.ensure(slots);
      Random random = new Random(1);
      int[] words = new int[layout.wordsPerPage()];
      for (int slot = 0; slot < slots; slot++) {
        for (int i = 0; i < words.length; i++) {
          int bits = Bfloat16.bits(random.nextFloat() - 0.5f);
          words[i] = bits << 16 | bits;
        }
        memory.write(slot, words, 0);
      }
      segments = new ArrayList<>();
      for (int l = 0; l < LAYERS; l++) {
        HeadPages[] heads = new HeadPages[SHAPE.kvHeads()];
        for (int h = 0; h < heads.length; h++) {
          heads[h] = new HeadPages();
          heads[h].wantMass = mass;
          heads[h].ensure(pages);
          heads[h].count = pages;
          for (int p = 0; p < pages; p++) {
            // As a pool hands them out: heads and layers take turns.
            heads[h].slots[p] = (p * LAYERS + l) * heads.length + h;
            heads[h].firstPositions[p] = p * page;
            heads[h].tokenCounts[p] = Math.min(page, context - p * page);
          }
        }
        segments.add(List.of(new AttentionSegment(0, rows, context - rows, heads)));
      }
      queries = CpuActivations.allocate(rows, SHAPE.heads() * SHAPE.headSize());
      for (int i = 0; i < queries.values().length; i++) {
        queries.values()[i] = (float) random.nextGaussian();
      }
      out = CpuActivations.allocate(rows, SHAPE.heads() * SHAPE.headSize());
    }

    void attend() {
      for (List<AttentionSegment> one : segments) {
        attention.attend(queries, SHAPE, memory, one, out);
      }
    }

    void attendOne() {
      layer = (layer + 1) % LAYERS;
      attention.attend(queries, SHAPE, memory, segments.get(layer), out);
    }

    /** Reads all pages in the order of the slabs. */
    void readAll() {
      int wordsPerPage = memory.layout().wordsPerPage();
      int grain = Math.max(1, (1 << 16) / wordsPerPage);
      pool.parallelFor(
          slots,
          grain,
          (worker, from, to) -> {
            int sum = 0;
            for (int slot = from; slot < to; slot++) {
              sum += sum(memory.slab(slot), memory.offset(slot), wordsPerPage);
            }
            sinks[16 * worker] += sum;
          });
    }
  }

  private static int sum(int[] words, int offset, int count) {
    int sum = 0;
    for (int i = offset; i < offset + count; i++) {
      sum += words[i];
    }
    return sum;
  }
}
