package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class WorkerPoolTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7})
  void everyItemIsDoneExactlyOnceInEveryRegion(int threads) {
    try (WorkerPool pool = new WorkerPool(threads)) {
      int regions = 20_000 / threads;
      for (int region = 0; region < regions; region++) {
        int items = region % 41;
        int grain = 1 + region % 5;
        AtomicIntegerArray runs = new AtomicIntegerArray(64);
        pool.parallelFor(
            items,
            grain,
            (worker, from, to) -> {
              assertThat(worker).isBetween(0, threads - 1);
              assertThat(to - from).isBetween(1, grain);
              for (int i = from; i < to; i++) {
                runs.incrementAndGet(i);
              }
            });
        for (int i = 0; i < 64; i++) {
          assertThat(runs.get(i)).isEqualTo(i < items ? 1 : 0);
        }
      }
    }
  }

  @Test
  void workersThatParkedWakeUp() {
    try (WorkerPool pool = new WorkerPool(2)) {
      for (int region = 0; region < 20; region++) {
        LockSupport.parkNanos(2_000_000);
        AtomicIntegerArray workers = new AtomicIntegerArray(2);
        long deadline = System.nanoTime() + 5_000_000_000L;
        pool.parallelFor(
            2,
            1,
            (worker, from, to) -> {
              workers.incrementAndGet(worker);
              // The first range waits for the second, so both threads must take part.
              while (workers.get(0) == 0 || workers.get(1) == 0) {
                if (System.nanoTime() - deadline > 0) {
                  throw new IllegalStateException("the other thread did not come");
                }
                Thread.onSpinWait();
              }
            });
      }
    }
  }

  @Test
  void theFirstExceptionComesBackAndThePoolGoesOn() {
    try (WorkerPool pool = new WorkerPool(3)) {
      for (int repeat = 0; repeat < 200; repeat++) {
        assertThatThrownBy(
                () ->
                    pool.parallelFor(
                        50,
                        1,
                        (worker, from, to) -> {
                          if (from == 17) {
                            throw new IllegalArgumentException("item 17");
                          }
                        }))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("item 17");
        int[] counted = new int[50];
        pool.parallelFor(50, 3, (worker, from, to) -> java.util.Arrays.fill(counted, from, to, 1));
        assertThat(java.util.Arrays.stream(counted).sum()).isEqualTo(50);
      }
    }
  }

  @Test
  void closeEndsTheThreadsAndMayBeCalledTwice() {
    WorkerPool pool = new WorkerPool(2);
    pool.close();
    pool.close();
    assertThatThrownBy(() -> pool.parallelFor(4, 1, (worker, from, to) -> {}))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  @Test
  void refusesNestingNonsenseSizesAndGrains() {
    try (WorkerPool pool = new WorkerPool(2)) {
      assertThatThrownBy(
              () ->
                  pool.parallelFor(
                      4, 1, (worker, from, to) -> pool.parallelFor(4, 1, (w, f, t) -> {})))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("nest");
      assertThatThrownBy(() -> pool.parallelFor(4, 0, (worker, from, to) -> {}))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("found 0");
      pool.parallelFor(0, 1, (worker, from, to) -> assertThat(true).isFalse());
    }
    assertThatThrownBy(() -> new WorkerPool(0)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void idleWorkersUseNoProcessor() throws InterruptedException {
    try (WorkerPool pool = new WorkerPool(4)) {
      pool.parallelFor(64, 1, (worker, from, to) -> {});
      Thread.sleep(50);
      long before = workerNanos();
      Thread.sleep(300);
      assertThat(workerNanos() - before).isLessThan(30_000_000L);
    }
  }

  @Test
  void moreThreadsThanProcessorsFinish() {
    int threads = 4 * Runtime.getRuntime().availableProcessors();
    java.util.concurrent.atomic.AtomicLong sum = new java.util.concurrent.atomic.AtomicLong();
    try (WorkerPool pool = new WorkerPool(threads)) {
      for (int region = 0; region < 500; region++) {
        pool.parallelForEven(100, (worker, from, to) -> sum.addAndGet(to - from));
      }
    }
    assertThat(sum).hasValue(50_000);
  }

  private static long workerNanos() {
    var bean = java.lang.management.ManagementFactory.getThreadMXBean();
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().startsWith("kvfreeze-cpu-"))
        .mapToLong(thread -> Math.max(0, bean.getThreadCpuTime(thread.getId())))
        .sum();
  }
}
