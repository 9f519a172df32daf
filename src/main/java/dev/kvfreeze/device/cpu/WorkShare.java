package dev.kvfreeze.device.cpu;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * One thread's share of a region's items, from which others take too when theirs is done, and what
 * the thread has got done. All of it lies on cache lines that no other share touches, so that a
 * thread that takes from its own share waits for nobody.
 *
 * <p>The ticket holds the region's number in the high half and the next unclaimed item in the low
 * half. A claim is a compare-and-set of the whole, so it fails when the region has changed. The
 * fields of the region change only while the ticket's item is {@link #NONE_LEFT}, so a claim that
 * succeeds has read those of its own region.
 */
final class WorkShare extends WorkShareFields {
  private static final long NONE_LEFT = Integer.MAX_VALUE;
  private static final long REGION_MASK = 0xFFFF_FFFF_0000_0000L;
  private static final VarHandle TICKET;
  private static final VarHandle DONE;

  static {
    try {
      MethodHandles.Lookup lookup = MethodHandles.lookup();
      TICKET = lookup.findVarHandle(WorkShareFields.class, "ticket", long.class);
      DONE = lookup.findVarHandle(WorkShareFields.class, "done", int.class);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  // Behind the fields; those before them are inherited.
  long q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15;

  WorkShare() {
    ticket = NONE_LEFT;
  }

  /** The issuing thread, between regions: sets the next region's items, not yet to be claimed. */
  void prepare(RangeTask task, int from, int to, int grain, boolean shrinking) {
    TICKET.setRelease(this, (ticket & REGION_MASK) | NONE_LEFT);
    VarHandle.storeStoreFence();
    this.task = task;
    this.from = from;
    this.to = to;
    this.grain = grain;
    this.shrinking = shrinking;
    this.done = 0;
  }

  /** The issuing thread, after all shares are prepared: items may be claimed from now on. */
  void open() {
    TICKET.setRelease(this, (ticket & REGION_MASK) + (1L << 32) | from);
  }

  /** The number of the region that was opened last; changes with each. */
  long region() {
    return (long) TICKET.getAcquire(this) >>> 32;
  }

  /**
   * Claims the next range, at most {@code grain} items or half of those left, and runs it in the
   * pool.
   *
   * @return whether there was something to claim
   */
  boolean runNext(WorkerPool pool, int worker, WorkShare own) {
    while (true) {
      long seen = (long) TICKET.getAcquire(this);
      int first = (int) seen;
      int limit = to;
      RangeTask claimed = task;
      if (first >= limit) {
        return false;
      }
      int left = limit - first;
      int length = Math.min(left, shrinking ? Math.max(grain, left >> 1) : grain);
      if (TICKET.compareAndSet(this, seen, seen + length)) {
        pool.runRange(claimed, worker, first, first + length);
        DONE.setRelease(own, own.done + length);
        return true;
      }
    }
  }

  /** Items of any share of the region that this share's thread has done. */
  int done() {
    return (int) DONE.getAcquire(this);
  }
}

/** Two cache lines, since processors fetch lines in pairs. */
abstract class WorkSharePadding {
  long p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15;
}

/** What the threads look at; 40 bytes. */
abstract class WorkShareFields extends WorkSharePadding {
  long ticket;
  RangeTask task;
  int from;
  int to;
  int grain;
  int done;
  boolean shrinking;

  /** Whether the share's thread waits to be woken. */
  volatile boolean parked;
}
