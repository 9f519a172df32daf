package dev.kvfreeze.device.cpu;

import java.lang.invoke.VarHandle;
import java.util.Arrays;
import java.util.concurrent.locks.LockSupport;

/**
 * Threads for the parallel regions of a forward pass. A region costs a few microseconds and
 * allocates nothing: workers spin a little for the next region before they park. Each thread begins
 * with a share of the items of its own and then takes from the others' shares, so that unequal
 * cores end together (work stealing; Blumofe and Leiserson 1999). The caller never waits for a
 * worker that has not begun. With more threads than processors nobody spins, and who spins offers
 * its processor to others between looks, so that Spark's threads are not held up.
 *
 * <p>One thread at a time issues regions. Its daemon threads are named {@code kvfreeze-cpu-N}.
 */
public final class WorkerPool implements AutoCloseable {
  private static final long SPIN_NANOS = 50_000;
  private static final int SPINS_BETWEEN_CLOCK_READS = 64;

  /** About 100 microseconds: a range that takes longer to end has perhaps lost its processor. */
  private static final int SPINS_BEFORE_YIELD = 2_000;

  private final Worker[] workers;

  /** Of each thread, the calling one first. Its task is null while no region runs. */
  private final WorkShare[] shares;

  private final long spinNanos;

  // Nothing that a region writes lies beside these: the workers read them all the time.
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
    shares = new WorkShare[threads];
    Arrays.setAll(shares, i -> new WorkShare());
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
    run(items, grain, Sizes.EQUAL, task);
  }

  /**
   * The same for many small items of equal cost: ranges are half of what is left of a share (guided
   * self-scheduling, Polychronopoulos and Kuck 1987), so that there are few claims and long runs of
   * memory, and unequal cores still end together.
   */
  public void parallelForEven(int items, RangeTask task) {
    run(items, 1, Sizes.SHRINKING, task);
  }

  private enum Sizes {
    EQUAL,
    SHRINKING
  }

  private void run(int items, int grain, Sizes sizes, RangeTask task) {
    if (items <= 0) {
      return;
    }
    if (closed) {
      throw new IllegalStateException("the worker pool is closed");
    }
    if (workers.length == 0 || items <= grain) {
      runAlone(items, sizes == Sizes.EQUAL ? grain : items, task);
      return;
    }
    if (shares[0].task != null) {
      throw new IllegalStateException("parallel regions do not nest");
    }
    share(items, grain, sizes == Sizes.SHRINKING, task);
    // Before the flags are read: either a worker sees the region or this its flag.
    VarHandle.fullFence();
    for (Worker worker : workers) {
      if (worker.share.parked) {
        LockSupport.unpark(worker);
      }
    }
    work(0);
    awaitDone(items);
    finish();
  }

  private static void runAlone(int items, int grain, RangeTask task) {
    for (int from = 0; from < items; ) {
      int to = (int) Math.min(items, (long) from + grain);
      task.run(0, from, to);
      from = to;
    }
  }

  /** Gives each thread the like number of ranges; a range never crosses shares. */
  private void share(int items, int grain, boolean shrinking, RangeTask task) {
    long ranges = (items - 1L) / grain + 1;
    int from = 0;
    for (int i = 0; i < shares.length; i++) {
      int to = (int) Math.min(items, ranges * (i + 1) / shares.length * grain);
      shares[i].prepare(task, from, to, grain, shrinking);
      from = to;
    }
    for (WorkShare share : shares) {
      share.open();
    }
  }

  private void awaitDone(int items) {
    int spins = 0;
    while (true) {
      int done = 0;
      for (WorkShare share : shares) {
        done += share.done();
      }
      if (done >= items) {
        return;
      }
      if (++spins < SPINS_BEFORE_YIELD) {
        Thread.onSpinWait();
      } else {
        Thread.yield();
      }
    }
  }

  private void finish() {
    shares[0].task = null;
    Throwable thrown = failure;
    if (thrown != null) {
      failure = null;
      if (thrown instanceof Error error) {
        throw error;
      }
      throw (RuntimeException) thrown;
    }
  }

  /** Claims and runs ranges, the thread's own first, until the present region has none left. */
  private void work(int worker) {
    WorkShare own = shares[worker];
    while (own.runNext(this, worker, own)) {}
    for (int i = 1; i < shares.length; i++) {
      WorkShare other = shares[(worker + i) % shares.length];
      while (other.runNext(this, worker, own)) {}
    }
  }

  /** Runs a range of the present region, unless one of it has failed. */
  void runRange(RangeTask task, int worker, int from, int to) {
    try {
      if (failure == null) {
        task.run(worker, from, to);
      }
    } catch (RuntimeException | Error e) {
      failure = e;
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
    private final WorkShare share;

    Worker(int index) {
      super("kvfreeze-cpu-" + index);
      this.index = index;
      this.share = shares[index];
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
        long region = share.region();
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
      share.parked = true;
      // Looked at again after the flag is up: either this sees the region or the caller the flag.
      VarHandle.fullFence();
      while (share.region() == last && !closed) {
        LockSupport.park(WorkerPool.this);
        // An interrupt would turn park into a spin; nobody has a reason to interrupt a worker.
        Thread.interrupted();
      }
      share.parked = false;
    }
  }
}
