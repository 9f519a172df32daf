package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.LogitStatistics;

/**
 * Statistics of a row of logits by runs of a fixed length, on all threads, joined in order: a
 * vocabulary takes one thread longer than others wait awake. Each thread takes the runs whose
 * logits it has mostly computed itself. One calling thread.
 */
final class LogitRuns {
  private static final int RUN = 8192;

  private final WorkerPool pool;
  private final ElementwiseKernels kernels;
  private LogitStatistics[] runs = {};

  LogitRuns(WorkerPool pool, ElementwiseKernels kernels) {
    this.pool = pool;
    this.kernels = kernels;
  }

  LogitStatistics of(float[] logits, int offset, int count) {
    if (count <= RUN) {
      return kernels.logitStatistics(logits, offset, count);
    }
    int parts = (count + RUN - 1) / RUN;
    if (runs.length < parts) {
      runs = new LogitStatistics[parts];
    }
    pool.parallelFor(
        parts,
        1,
        (worker, from, to) -> {
          for (int i = from; i < to; i++) {
            int at = i * RUN;
            int length = Math.min(RUN, count - at);
            runs[i] = kernels.logitStatistics(logits, offset + at, length);
          }
        });
    for (int i = 0; i < parts; i++) {
      int at = offset + i * RUN;
      if (Float.isNaN(runs[i].logSumExp())
          && !excluded(logits, at, Math.min(RUN, offset + count - at))) {
        return new LogitStatistics(i * RUN + runs[i].argmax(), runs[i].max(), Float.NaN, Float.NaN);
      }
    }
    return join(parts);
  }

  /** Whether all of a run are -infinity: logits of tokens that are not allowed. */
  private static boolean excluded(float[] logits, int from, int count) {
    for (int i = from; i < from + count; i++) {
      if (logits[i] != Float.NEGATIVE_INFINITY) {
        return false;
      }
    }
    return true;
  }

  /** With the sums of exponentials s and the means m of a run: entropy = log(sum s) - mean of m. */
  private LogitStatistics join(int parts) {
    int best = 0;
    for (int i = 0; i < parts; i++) {
      if (runs[i].max() > runs[best].max()) {
        best = i;
      }
    }
    int argmax = best * RUN + runs[best].argmax();
    float max = runs[best].max();
    if (Float.isInfinite(max)) {
      return new LogitStatistics(argmax, max, Float.NaN, Float.NaN);
    }
    double sum = 0;
    double moment = 0;
    for (int i = 0; i < parts; i++) {
      if (runs[i].max() == Float.NEGATIVE_INFINITY) {
        continue;
      }
      double share = Math.exp((double) runs[i].logSumExp() - max);
      sum += share;
      moment += share * (max - ((double) runs[i].logSumExp() - runs[i].entropy()));
    }
    double log = Math.log(sum);
    return new LogitStatistics(argmax, max, (float) (max + log), (float) (log + moment / sum));
  }
}
