package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;

/**
 * Elementwise operations over rows, for the engine's one thread. Rows are shared among the threads
 * only where there is enough to do.
 */
final class ElementwiseOperations {
  /** Values below which a parallel region costs more than it gains. */
  private static final int PARALLEL_VALUES = 1 << 15;

  private final WorkerPool pool;
  private final LogitRuns logitStatistics;
  private final ElementwiseKernels kernels;
  private final boolean natively;
  private final ByRope<RopeTable> ropeTables = new ByRope<>(RopeTable::new);

  /** With these kernels alone, none in native code. */
  ElementwiseOperations(WorkerPool pool, ElementwiseKernels kernels) {
    this(pool, kernels, NativeLevel.NONE);
  }

  ElementwiseOperations(WorkerPool pool, ElementwiseKernels kernels, NativeLevel level) {
    this.pool = pool;
    this.logitStatistics = new LogitRuns(pool, kernels);
    this.kernels = kernels;
    this.natively = level != NativeLevel.NONE;
  }

  /** See {@link dev.kvfreeze.device.Device#embed}. */
  void embed(
      TiledWeight table, int[] tokens, int offset, int rows, float scale, CpuActivations out) {
    int columns = out.columns();
    overRows(
        rows,
        columns,
        (worker, from, to) -> {
          for (int row = from; row < to; row++) {
            table.readRow(tokens[offset + row], out.values(), row * columns);
          }
        });
    scale(out, rows, scale);
  }

  /** See {@link dev.kvfreeze.device.Device#rmsNorm}. */
  void rmsNorm(CpuActivations x, int rows, float[] gain, float epsilon, CpuActivations out) {
    int columns = x.columns();
    checkLength("the norm's gain", gain.length, columns);
    checkLength("the normed rows", out.columns(), columns);
    norm(x, rows, columns, gain, epsilon, out);
  }

  /** Norms all that lies in the rows, {@code size} values at a time. */
  private void norm(
      CpuActivations x, int rows, int size, float[] gain, float epsilon, CpuActivations out) {
    int columns = x.columns();
    overRows(
        rows,
        columns,
        (worker, from, to) -> {
          int first = from * columns;
          int end = to * columns;
          if (natively) {
            int count = (end - first) / size;
            NativeNorms.norm(x.values(), first, count, size, gain, epsilon, out.values(), first);
            return;
          }
          for (int at = first; at < end; at += size) {
            kernels.rmsNorm(x.values(), at, size, gain, epsilon, out.values(), at);
          }
        });
  }

  /**
   * See {@link dev.kvfreeze.device.Device#addNorm}; row by row, so that the sum is still in the
   * first cache when it is normed.
   *
   * @param addendNorm or null
   */
  void addNorm(
      CpuActivations residual,
      CpuActivations addend,
      float[] addendNorm,
      int rows,
      float[] norm,
      float epsilon,
      CpuActivations normed) {
    int columns = residual.columns();
    checkLength("the rows added", addend.columns(), columns);
    checkLength("the normed rows", normed.columns(), columns);
    checkLength("the norm's gain", norm.length, columns);
    if (addendNorm != null) {
      checkLength("the addend's norm's gain", addendNorm.length, columns);
    }
    float[] sum = residual.values();
    float[] added = addend.values();
    overRows(
        rows,
        columns,
        (worker, from, to) -> {
          if (natively) {
            NativeNorms.addNorm(
                sum,
                added,
                addendNorm,
                from * columns,
                to - from,
                columns,
                norm,
                epsilon,
                normed.values());
            return;
          }
          for (int at = from * columns; at < to * columns; at += columns) {
            if (addendNorm != null) {
              kernels.rmsNorm(added, at, columns, addendNorm, epsilon, added, at);
            }
            kernels.add(sum, at, added, at, columns);
            kernels.rmsNorm(sum, at, columns, norm, epsilon, normed.values(), at);
          }
        });
  }

  /** See {@link dev.kvfreeze.device.Device#rmsNormHeads}. */
  void rmsNormHeads(CpuActivations x, int rows, int headSize, float[] gain, float epsilon) {
    checkLength("the head norm's gain", gain.length, headSize);
    norm(x, rows, headSize, gain, epsilon, x);
  }

  /** See {@link dev.kvfreeze.device.Device#addBias}. */
  void addBias(CpuActivations x, int rows, float[] bias) {
    int columns = x.columns();
    checkLength("the bias", bias.length, columns);
    overRows(
        rows,
        columns,
        (worker, from, to) -> {
          for (int r = from; r < to; r++) {
            kernels.add(x.values(), r * columns, bias, 0, columns);
          }
        });
  }

  /** See {@link dev.kvfreeze.device.Device#scaleColumns}. */
  void scaleColumns(CpuActivations x, int rows, float[] factors) {
    int columns = x.columns();
    checkLength("the factors", factors.length, columns);
    float[] values = x.values();
    overRows(
        rows,
        columns,
        (worker, from, to) -> {
          for (int r = from; r < to; r++) {
            for (int c = 0; c < columns; c++) {
              values[r * columns + c] *= factors[c];
            }
          }
        });
  }

  /** See {@link dev.kvfreeze.device.Device#add}. */
  void add(CpuActivations x, CpuActivations y, int rows) {
    int columns = x.columns();
    checkLength("the rows added", y.columns(), columns);
    overRows(
        rows,
        columns,
        (worker, from, to) ->
            kernels.add(
                x.values(), from * columns, y.values(), from * columns, (to - from) * columns));
  }

  /** Multiplies rows by a factor: the scaled embeddings of Gemma. */
  void scale(CpuActivations x, int rows, float factor) {
    if (factor == 1f) {
      return;
    }
    int columns = x.columns();
    overRows(
        rows,
        columns,
        (worker, from, to) ->
            kernels.scale(x.values(), from * columns, (to - from) * columns, factor));
  }

  /** See {@link dev.kvfreeze.device.Device#gate}. */
  void gate(GateActivation activation, CpuActivations gate, CpuActivations up, int rows) {
    int columns = gate.columns();
    checkLength("the up projection's rows", up.columns(), columns);
    overRows(
        rows,
        columns,
        (worker, from, to) -> {
          int at = from * columns;
          int count = (to - from) * columns;
          kernels.gate(activation, gate.values(), at, up.values(), at, count);
        });
  }

  /** See {@link dev.kvfreeze.device.Device#rope}. */
  void rope(CpuActivations x, int rows, int headSize, Rope rope, int[] positions) {
    RopeTable table = ropeTables.of(rope);
    int pairs = table.pairs();
    if (2 * pairs > headSize) {
      throw new IllegalArgumentException(
          "RoPE rotates " + 2 * pairs + " dimensions of heads that have " + headSize);
    }
    table.prepare(positions, rows);
    int columns = x.columns();
    if (natively && rope.pairing() == Rope.Pairing.INTERLEAVED) {
      rotateNatively(x, rows, headSize, table);
      return;
    }
    overRows(
        rows,
        columns,
        (worker, from, to) -> {
          for (int r = from; r < to; r++) {
            for (int at = r * columns; at < (r + 1) * columns; at += headSize) {
              rotate(x.values(), at, table, r * pairs, rope.pairing());
            }
          }
        });
  }

  private void rotateNatively(CpuActivations x, int rows, int headSize, RopeTable table) {
    int columns = x.columns();
    int pairs = table.pairs();
    overRows(
        rows,
        columns,
        (worker, from, to) ->
            NativeElementwise.rotateNeighbours(
                x.values(),
                from * columns,
                columns,
                headSize,
                to - from,
                table.cosines(),
                table.sines(),
                from * pairs,
                pairs));
  }

  private void rotate(float[] x, int at, RopeTable table, int row, Rope.Pairing pairing) {
    switch (pairing) {
      case HALF_SPLIT ->
          kernels.rotateHalves(x, at, table.cosines(), table.sines(), row, table.pairs());
      case INTERLEAVED ->
          kernels.rotateNeighbours(x, at, table.cosines(), table.sines(), row, table.pairs());
    }
  }

  /** See {@link dev.kvfreeze.device.Device#logitStatistics}. */
  LogitStatistics logitStatistics(CpuActivations logits, int row) {
    return logitStatistics.of(logits.values(), row * logits.columns(), logits.columns());
  }

  private void overRows(int rows, int columns, RangeTask task) {
    int grain = rows;
    if ((long) rows * columns >= PARALLEL_VALUES) {
      grain = Math.max(1, PARALLEL_VALUES / 4 / columns);
    }
    pool.parallelFor(rows, Math.max(1, grain), task);
  }

  private static void checkLength(String what, int found, int wanted) {
    if (found != wanted) {
      throw new IllegalArgumentException(what + " has " + found + " values, not " + wanted);
    }
  }
}
