package dev.kvfreeze.device.cpu;

/** Work over a range of items, run by {@link WorkerPool}. */
@FunctionalInterface
public interface RangeTask {
  /**
   * Does the items {@code [from, to)}.
   *
   * @param worker which thread runs it, below {@link WorkerPool#threads}; for scratch memory
   */
  void run(int worker, int from, int to);
}
