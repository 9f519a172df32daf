package dev.kvfreeze.device.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * Threads for the parallel regions of a forward pass. A region costs a few microseconds and
 * allocates nothing: workers spin a little for the next region before they park, and ranges are
 * claimed from one counter, so that unequal cores end together. The caller never waits for a worker
 * that has not begun. With more threads than processors nobody spins, and who spins offers its
 * processor to others between looks, so that Spark's threads are not held up.
 *
 * <p>One thread at a time issues regions. Its daemon threads are named {@code kvfreeze-cpu-N}.
 */
public final class WorkerPool implements AutoCloseable {
  private static final long SPIN_NANOS = 50_000;
  private static final int SPINS_BETWEEN_CLOCK_READS = 64;

  /** About 100 microseconds: a range that takes longer to end has perhaps lost its processor. */
  private static final int SPINS_BEFORE_YIELD = 2_000;

  private static final long NONE_LEFT = Integer.MAX_VALUE;
  private static final long REGION_MASK = 0xFFFF_FFFF_0000_0000L;

  private final Worker[] workers;
  private final long spinNanos;

  /**
   * Region number in the high half, next unclaimed item in the low half. A claim is a
   * compare-and-set of the whole, so it fails when the region has changed. The fields below change
   * only while the ticket's item is {@link #NONE_LEFT}, so a claim that succeeds has read those of
   * its own region.
   */
  private final AtomicLong ticket = new AtomicLong(NONE_LEFT);

  private final AtomicInteger done = new AtomicInteger();
  private RangeTask task;
  private int items;
  private int grain;
  private int divisor;
  private boolean issuing;
  private volatile Throwable failure;
  private volatile boolean closed;

  /**
   * Starts the threads.
   *
   * @param threads that compute, the calling one included
   */
  public WorkerPool(int threads) {
    if (threads < 1) {
      throw new IllegalArgumentException("a pool needs at least one thread, found " + threads);
    }
    spinNanos = threads <= Runtime.getRuntime().availableProcessors() ? SPIN_NANOS : 0;
    workers = new Worker[threads - 1];
    for (int i = 0; i < workers.length; i++) {
      workers[i] = new Worker(i + 1);
      workers[i].start();
    }
  }

  /** Bytes that the pool's own threads have allocated so far; the calling one is left out. */
  long allocatedBytes() {
    long bytes = 0;
    for (Worker worker : workers) {
      bytes += KernelSelfCheck.allocatedBytes(worker.getId());
    }
    return bytes;
  }

  /** Threads that compute, the calling one included. */
  public int threads() {
    return workers.length + 1;
  }

  /**
   * Runs {@code task} over all of {@code [0, items)} in ranges of at most {@code grain} items, and
   * returns when all are done. The first exception of a range is thrown here; ranges not begun by
   * then are skipped.
   */
  public void parallelFor(int items, int grain, RangeTask task) {
    if (grain < 1) {
      throw new IllegalArgumentException("a range has at least one item, found " + grain);
    }
    run(items, grain, Integer.MAX_VALUE, task);
  }

  /**
   * The same for many small items of equal cost: ranges begin large and shrink to one item (guided
   * self-scheduling, Polychronopoulos and Kuck 1987), so that there are few claims and long runs of
   * memory, and unequal cores still end together.
   */
  public void parallelForEven(int items, RangeTask task) {
    run(items, 1, 2 * threads(), task);
  }

  private void run(int items, int grain, int divisor, RangeTask task) {
    if (items <= 0) {
      return;
    }
    if (closed) {
      throw new IllegalStateException("the worker pool is closed");
    }
    if (workers.length == 0 || items <= grain) {
      runAlone(items, divisor == Integer.MAX_VALUE ? grain : items, task);
      return;
    }
    if (issuing) {
      throw new IllegalStateException("parallel regions do not nest");
    }
    issuing = true;
    this.task = task;
    this.items = items;
    this.grain = grain;
    this.divisor = divisor;
    done.set(0);
    long region = (ticket.get() >>> 32) + 1;
    ticket.set(region << 32);
    for (Worker worker : workers) {
      if (worker.parked) {
        LockSupport.unpark(worker);
      }
    }
    work(0);
    awaitDone();
    finish();
  }

  private static void runAlone(int items, int grain, RangeTask task) {
    for (int from = 0; from < items; ) {
      int to = (int) Math.min(items, (long) from + grain);
      task.run(0, from, to);
      from = to;
    }
  }

  private void awaitDone() {
    int spins = 0;
    while (done.get() < items) {
      if (++spins < SPINS_BEFORE_YIELD) {
        Thread.onSpinWait();
      } else {
        Thread.yield();
      }
    }
  }

  private void finish() {
    ticket.set((ticket.get() & REGION_MASK) | NONE_LEFT);
    task = null;
    issuing = false;
    Throwable thrown = failure;
    if (thrown != null) {
      failure = null;
      if (thrown instanceof Error error) {
        throw error;
      }
      throw (RuntimeException) thrown;
    }
  }

  /** Claims and runs ranges until the present region has none left. */
  private void work(int worker) {
    while (true) {
      long seen = ticket.get();
      int from = (int) seen;
      RangeTask claimedTask = task;
      int limit = items;
      if (from >= limit || claimedTask == null) {
        return;
      }
      int length = Math.max(grain, (limit - from) / divisor);
      int to = (int) Math.min(limit, (long) from + length);
      if (ticket.compareAndSet(seen, (seen & REGION_MASK) | to)) {
        runRange(claimedTask, worker, from, to);
      }
    }
  }

  private void runRange(RangeTask claimedTask, int worker, int from, int to) {
    try {
      if (failure == null) {
        claimedTask.run(worker, from, to);
      }
    } catch (RuntimeException | Error e) {
      failure = e;
    } finally {
      done.addAndGet(to - from);
    }
  }

  /** Ends the threads and waits for them; closing twice is safe. */
  @Override
  public void close() {
    closed = true;
    boolean interrupted = false;
    for (Worker worker : workers) {
      LockSupport.unpark(worker);
      while (worker.isAlive()) {
        try {
          worker.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private final class Worker extends Thread {
    private final int index;
    private volatile boolean parked;

    Worker(int index) {
      super("kvfreeze-cpu-" + index);
      this.index = index;
      setDaemon(true);
    }

    @Override
    public void run() {
      long region = 0;
      while (!closed) {
        region = awaitRegion(region);
        work(index);
      }
    }

    /** Waits until the region is no longer {@code last}, or the pool is closed. */
    private long awaitRegion(long last) {
      long deadline = System.nanoTime() + spinNanos;
      int spins = 0;
      while (true) {
        long region = ticket.get() >>> 32;
        if (region != last || closed) {
          return region;
        }
        if (++spins % SPINS_BETWEEN_CLOCK_READS == 0) {
          if (System.nanoTime() - deadline >= 0) {
            park(last);
          } else {
            Thread.yield();
          }
        }
        Thread.onSpinWait();
      }
    }

    private void park(long last) {
      parked = true;
      // Looked at again after the flag is up: either this sees the region or the caller the flag.
      while (ticket.get() >>> 32 == last && !closed) {
        LockSupport.park(WorkerPool.this);
        // An interrupt would turn park into a spin; nobody has a reason to interrupt a worker.
        Thread.interrupted();
      }
      parked = false;
    }
  }
}
