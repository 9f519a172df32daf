package dev.kvfreeze.device.cuda;

import static dev.kvfreeze.device.cuda.Kernels.divideUp;

import dev.kvfreeze.device.LogitStatistics;
import java.nio.ByteBuffer;

/** Statistics of logits, for all rows of a step in one go, and rows of logits themselves. */
final class LogitRows {
  private static final int PART_COLUMNS = 4096;

  private final GpuWork work;
  private final Scratch scratch;

  LogitRows(GpuWork work, Scratch scratch) {
    this.work = work;
    this.scratch = scratch;
  }

  /** See {@link dev.kvfreeze.device.Device#logitStatistics}. */
  LogitStatistics statistics(CudaActivations logits, int row) {
    if (logits.statistics == null || row >= logits.statistics.length) {
      logits.statistics = read(logits, Math.max(row + 1, logits.writtenRows));
    }
    return logits.statistics[row];
  }

  private LogitStatistics[] read(CudaActivations logits, int rows) {
    int parts = divideUp(logits.columns(), PART_COLUMNS);
    scratch.begin();
    long partial = scratch.take("logit statistics", 16L * parts * rows);
    long out = scratch.take("logit statistics", 16L * rows);
    work.launch("logit_parts", parts, rows, 1, 256, logits.address(), logits.columns(), partial);
    work.launch("logit_statistics", rows, 1, 1, 32, partial, parts, out);
    ByteBuffer bytes = work.read(out, 16 * rows);
    LogitStatistics[] statistics = new LogitStatistics[rows];
    for (int r = 0; r < rows; r++) {
      statistics[r] =
          new LogitStatistics(
              bytes.getInt(16 * r),
              bytes.getFloat(16 * r + 4),
              bytes.getFloat(16 * r + 8),
              bytes.getFloat(16 * r + 12));
    }
    return statistics;
  }

  /** See {@link dev.kvfreeze.device.Device#read}. */
  void read(CudaActivations x, int row, float[] values) {
    work.read(x.address(row), 4 * x.columns()).asFloatBuffer().get(values, 0, x.columns());
  }
}
