package dev.kvfreeze.device.cuda;

import static dev.kvfreeze.device.cuda.Kernels.divideUp;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.Weight;
import java.util.ArrayList;
import java.util.List;

/**
 * Products of activations with weights: on tensor cores for many rows, with bfloat16 activations;
 * bound by memory for few, with activations rounded to 8 bits in blocks of 32 where the weight is
 * quantised. Up to three matrices share one launch.
 */
final class MatrixProducts {
  private static final int TOGETHER = 3;
  private static final int TILE_ROWS = 32;
  private static final int PREFILL_TILE_ROWS = 128;
  private static final int ROUND_COLUMNS = 256;
  private static final RoundedRows NOT_ROUNDED = new RoundedRows(0, 0, 0);

  private final GpuWork work;
  private final Scratch scratch;

  MatrixProducts(GpuWork work, Scratch scratch) {
    this.work = work;
    this.scratch = scratch;
  }

  /** Matrices of one launch, and where their results go. */
  private record Factors(List<CudaWeight> weights, List<Long> outs) {
    Object[] arguments(Object... before) {
      Object[] arguments = new Object[before.length + 4 * TOGETHER];
      System.arraycopy(before, 0, arguments, 0, before.length);
      for (int i = 0; i < TOGETHER; i++) {
        int at = before.length + 4 * i;
        boolean used = i < weights.size();
        arguments[at] = used ? weights.get(i).type().ggmlId() : 0;
        arguments[at + 1] = used ? weights.get(i).address() : 0L;
        arguments[at + 2] = used ? weights.get(i).rows() : 0;
        arguments[at + 3] = used ? outs.get(i) : 0L;
      }
      return arguments;
    }

    /** Blocks that cover the rows of all of them. */
    int blocks(int rowsPerBlock) {
      int blocks = 0;
      for (CudaWeight weight : weights) {
        blocks += divideUp(weight.rows(), rowsPerBlock);
      }
      return blocks;
    }
  }

  private static List<Factors> grouped(
      CudaActivations x, Weight[] weights, Activations[] outs, int rows) {
    List<Factors> groups = new ArrayList<>();
    for (int from = 0; from < weights.length; from += TOGETHER) {
      List<CudaWeight> factors = new ArrayList<>();
      List<Long> addresses = new ArrayList<>();
      for (int i = from; i < Math.min(weights.length, from + TOGETHER); i++) {
        CudaWeight weight = matrix(weights[i], x);
        CudaActivations out = CudaActivations.of(outs[i]);
        if (out.columns() != weight.rows() || out.rows() < rows) {
          throw new IllegalArgumentException(
              weight.name()
                  + " gives "
                  + rows
                  + " rows of "
                  + weight.rows()
                  + " values, room is "
                  + out.rows()
                  + " of "
                  + out.columns());
        }
        out.written(rows);
        factors.add(weight);
        addresses.add(out.address());
      }
      groups.add(new Factors(factors, addresses));
    }
    return groups;
  }

  private static CudaWeight matrix(Weight weight, CudaActivations x) {
    CudaWeight matrix = CudaWeight.of(weight);
    if (matrix.columns() != x.columns()) {
      throw new IllegalArgumentException(
          matrix.name() + " has " + matrix.columns() + " columns, its input " + x.columns());
    }
    return matrix;
  }

  /** See {@link dev.kvfreeze.device.Device#matmul}. */
  void manyRows(CudaActivations x, int rows, Weight[] weights, Activations[] outs) {
    round(x, rows);
    for (Factors factors : grouped(x, weights, outs, rows)) {
      manyRows(x.columns(), rows, x.bf16Address(), factors);
    }
  }

  private void manyRows(int columns, int rows, long bf16, Factors factors) {
    int tile = rows > 64 ? PREFILL_TILE_ROWS : 64;
    work.launch(
        "prefill_rows" + tile,
        divideUp(rows, tile),
        factors.blocks(128),
        1,
        128,
        factors.arguments(rows, columns, bf16, 0));
  }

  private void round(CudaActivations x, int rows) {
    if (x.roundedRows >= rows) {
      return;
    }
    if (x.bf16Address() == 0) {
      throw new IllegalStateException("these activations have no room for bfloat16 values");
    }
    int count = rows * x.columns();
    work.launch(
        "round_bf16", divideUp(count, 1024), 1, 1, 256, x.address(), count, x.bf16Address());
    x.roundedRows = rows;
  }

  /** The product of one row; see {@link dev.kvfreeze.device.Device#matmulRow}. */
  void oneRow(CudaActivations x, int row, Weight weight, CudaActivations out, int outRow) {
    CudaWeight matrix = matrix(weight, x);
    round(x, Math.max(row + 1, x.roundedRows));
    out.written(Math.max(outRow + 1, out.writtenRows));
    Factors factors = new Factors(List.of(matrix), List.of(out.address(outRow)));
    manyRows(x.columns(), 1, x.bf16Address() + 2L * row * x.columns(), factors);
  }

  /** Whether all of them are quantised: their products read nothing but {@link RoundedRows}. */
  static boolean quantized(Weight[] weights) {
    for (Weight weight : weights) {
      if (!CudaWeight.of(weight).quantized()) {
        return false;
      }
    }
    return true;
  }

  /**
   * Room for rows that {@link #fewRows(CudaActivations, RoundedRows, int, Weight[], Activations[])}
   * reads.
   */
  RoundedRows room(CudaActivations x, int rows) {
    return RoundedRows.take(scratch, rows, x.columns());
  }

  /** See {@link dev.kvfreeze.device.Device#decodeMatmul}. */
  void fewRows(CudaActivations x, int rows, Weight[] weights, Activations[] outs) {
    boolean quantized = false;
    for (Weight weight : weights) {
      quantized |= CudaWeight.of(weight).quantized();
    }
    RoundedRows rounded = NOT_ROUNDED;
    if (quantized) {
      rounded = room(x, rows);
      work.launch(
          "round_rows",
          divideUp(x.columns(), ROUND_COLUMNS),
          divideUp(rows, 8),
          1,
          256,
          x.address(),
          rows,
          x.columns(),
          rounded.quants(),
          rounded.scales());
    }
    fewRows(x, rounded, rows, weights, outs);
  }

  /**
   * The same for rows that are rounded already.
   *
   * @param x read where a weight is not quantised
   */
  void fewRows(
      CudaActivations x, RoundedRows rounded, int rows, Weight[] weights, Activations[] outs) {
    int together = rows <= 8 ? 8 : rows <= 16 ? 16 : 32;
    for (Factors factors : grouped(x, weights, outs, rows)) {
      work.launch(
          "decode_rows" + together,
          factors.blocks(TILE_ROWS),
          divideUp(rows, together),
          1,
          512,
          factors.arguments(rows, x.columns(), rounded.quants(), rounded.scales(), x.address(), 0));
    }
  }
}
