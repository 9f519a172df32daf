package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;

import java.nio.ByteBuffer;
import java.util.Objects;

/**
 * Matrix products in C ({@code src/main/native/*products*.c}). Three ways to round the activations,
 * each first done for all rows: to 8 bits, for quantised weights and few rows, bound by memory; for
 * many rows to bfloat16, together with the dequantised weights, on the matrix unit, or to 16 bits
 * in blocks of 32, for quantised weights, without one. A row's result depends neither on the others
 * nor on the threads.
 *
 * <p>One product at a time: the engine's thread rounds, workers multiply.
 */
final class NativeProducts {
  /** Words of 32 activations rounded to 8 bits; see rounded_rows.h. */
  private static final int ROUNDED_BLOCK_WORDS = 20;

  /** Rows are multiplied in groups of so many; the rest of the last group is zeros. */
  private static final int GROUP_ROWS = 32;

  /** Tiles dequantised at a time; as in products_amx.c. */
  private static final int PANEL_TILES = 4;

  private static final int LINE_BYTES = 64;

  /** Operations of a call: some milliseconds, since the garbage collector waits for it. */
  private static final long CALL_OPERATIONS = 300_000_000;

  /** Rows below which another thread does not pay. */
  private static final int ROUNDED_TOGETHER = 16;

  // What is not quantised, after ScaleKind's ordinals; as in weights.h.
  private static final int BFLOAT16 = 4;
  private static final int FLOAT16 = 5;
  private static final int FLOAT32 = 6;

  private final NativeLevel level;
  private final int[][] panels;
  private int[] rounded = {};
  private int roundedRows;
  private int roundedColumns;
  private int[] shorts = {};
  private ByteBuffer bfloat16 = ByteBuffer.allocateDirect(0);
  private long bfloat16Address;

  /**
   * @param threads workers that may multiply at a time
   */
  NativeProducts(NativeLevel level, int threads) {
    this.level = level;
    this.panels = new int[threads][0];
  }

  /** Whether {@link #multiplyRounded} takes a weight. */
  boolean takesRounded(TiledWeight weight) {
    return level != NativeLevel.NONE && weight instanceof QuantizedWeight;
  }

  /** Whether {@link #multiplyBfloat16} is there. */
  boolean takesBfloat16() {
    return level == NativeLevel.AMX;
  }

  /** Whether {@link #multiplyShorts} takes a weight. */
  boolean takesShorts(TiledWeight weight) {
    return level != NativeLevel.NONE && weight instanceof QuantizedWeight;
  }

  /** Rounds {@code rows} rows of {@code columns} values from {@code x[at]} on to 8 bits. */
  void round(float[] x, int at, int rows, int columns) {
    Objects.checkFromIndexSize(at, Math.multiplyExact(rows, columns), x.length);
    int blocks = columns / BLOCK_COLUMNS;
    int words = Math.multiplyExact(Math.multiplyExact(rows, blocks), ROUNDED_BLOCK_WORDS);
    if (rounded.length < words) {
      rounded = new int[words];
    }
    roundedRows = rows;
    roundedColumns = columns;
    round(x, at, rows, blocks, rounded);
  }

  /** Tiles {@code [from, to)} times the rows rounded to 8 bits. */
  void multiplyRounded(
      QuantizedWeight weight, int from, int to, int rows, CpuActivations out, int outRow) {
    checkTarget(weight, from, to, rows, out, outRow);
    multiplyRounded(
        weight.words,
        weight.scaleKind.ordinal(),
        weight.bits,
        weight.zeroPoint,
        weight.rows(),
        weight.blocks(),
        from,
        to,
        rounded,
        rows,
        out.values(),
        outRow * out.columns(),
        out.columns());
  }

  /** Rounds rows to bfloat16, on all threads. */
  void roundToBfloat16(WorkerPool pool, float[] x, int at, int rows, int columns) {
    Objects.checkFromIndexSize(at, Math.multiplyExact(rows, columns), x.length);
    int padded = (rows + GROUP_ROWS - 1) / GROUP_ROWS * GROUP_ROWS;
    int bytes = Math.multiplyExact(Math.multiplyExact(padded, columns), 2);
    if (bfloat16.capacity() < bytes) {
      bfloat16 = ByteBuffer.allocateDirect(bytes + LINE_BYTES).alignedSlice(LINE_BYTES);
      bfloat16Address = address(bfloat16);
    }
    roundedRows = rows;
    roundedColumns = columns;
    pool.parallelFor(
        padded / 16,
        1,
        (worker, from, to) ->
            roundToBfloat16(x, at, columns, rows, 16 * from, 16 * to, bfloat16Address));
  }

  /** Tiles {@code [from, to)} times the rows rounded to bfloat16. */
  void multiplyBfloat16(
      int worker, TiledWeight weight, int from, int to, int rows, CpuActivations out, int outRow) {
    checkTarget(weight, from, to, rows, out, outRow);
    int panelWords = PANEL_TILES * weight.blocks() * TiledWeight.BLOCK_VALUES / 2 + LINE_BYTES / 4;
    if (panels[worker].length < panelWords) {
      panels[worker] = new int[panelWords];
    }
    Object words;
    int kind;
    int bits = 0;
    int zeroPoint = 0;
    if (weight instanceof QuantizedWeight quantized) {
      words = quantized.words;
      kind = quantized.scaleKind.ordinal();
      bits = quantized.bits;
      zeroPoint = quantized.zeroPoint;
    } else if (weight instanceof SixteenBitWeight sixteen) {
      words = sixteen.words;
      kind = sixteen.format == SixteenBitWeight.Format.BF16 ? BFLOAT16 : FLOAT16;
    } else {
      words = ((FloatWeight) weight).values;
      kind = FLOAT32;
    }
    multiplyBfloat16(
        words,
        kind,
        bits,
        zeroPoint,
        weight.rows(),
        weight.blocks(),
        from,
        to,
        bfloat16Address,
        rows,
        panels[worker],
        out.values(),
        outRow * out.columns(),
        out.columns());
  }

  /** Rounds rows to 16 bits, on all threads. */
  void roundToShorts(WorkerPool pool, float[] x, int at, int rows, int columns) {
    Objects.checkFromIndexSize(at, Math.multiplyExact(rows, columns), x.length);
    int blocks = columns / BLOCK_COLUMNS;
    int words = Math.multiplyExact(Math.multiplyExact(rows, blocks), shortBlockWords());
    if (shorts.length < words) {
      shorts = new int[words];
    }
    roundedRows = rows;
    roundedColumns = columns;
    pool.parallelFor(
        rows,
        ROUNDED_TOGETHER,
        (worker, from, to) -> roundToShorts(x, at, blocks, from, to, shorts));
  }

  /** Tiles {@code [from, to)} times the rows rounded to 16 bits. */
  void multiplyShorts(
      QuantizedWeight weight, int from, int to, int rows, CpuActivations out, int outRow) {
    checkTarget(weight, from, to, rows, out, outRow);
    long operationsOfTile = 2L * TiledWeight.TILE_ROWS * weight.columns() * Math.max(1, rows);
    int tiles = (int) Math.max(1, CALL_OPERATIONS / operationsOfTile);
    for (int tile = from; tile < to; tile += tiles) {
      multiplyShorts(
          weight.words,
          weight.scaleKind.ordinal(),
          weight.bits,
          weight.zeroPoint,
          weight.rows(),
          weight.blocks(),
          tile,
          Math.min(to, tile + tiles),
          shorts,
          rows,
          out.values(),
          outRow * out.columns(),
          out.columns());
    }
  }

  private void checkTarget(
      TiledWeight weight, int from, int to, int rows, CpuActivations out, int outRow) {
    Objects.checkFromToIndex(from, to, weight.tiles());
    Objects.checkFromToIndex(0, rows, roundedRows);
    Objects.checkFromIndexSize(outRow, rows, out.rows());
    if (weight.columns() != roundedColumns || weight.rows() != out.columns()) {
      throw new IllegalArgumentException(
          weight.name()
              + " of "
              + weight.rows()
              + " x "
              + weight.columns()
              + " cannot multiply rows of "
              + roundedColumns
              + " into rows of "
              + out.columns());
    }
  }

  private static native void round(float[] x, int at, int rows, int blocks, int[] rounded);

  private static native void multiplyRounded(
      int[] words,
      int kind,
      int bits,
      int zeroPoint,
      int rowsOfWeight,
      int blocks,
      int fromTile,
      int toTile,
      int[] rounded,
      int rows,
      float[] out,
      int outOffset,
      int outColumns);

  /** Words of 32 activations rounded to 16 bits. */
  private static native int shortBlockWords();

  private static native void roundToShorts(
      float[] x, int at, int blocks, int fromRow, int toRow, int[] rounded);

  private static native void multiplyShorts(
      int[] words,
      int kind,
      int bits,
      int zeroPoint,
      int rowsOfWeight,
      int blocks,
      int fromTile,
      int toTile,
      int[] rounded,
      int rows,
      float[] out,
      int outOffset,
      int outColumns);

  private static native void roundToBfloat16(
      float[] x, int at, int columns, int rows, int fromRow, int toRow, long rounded);

  private static native void multiplyBfloat16(
      Object words,
      int kind,
      int bits,
      int zeroPoint,
      int rowsOfWeight,
      int blocks,
      int fromTile,
      int toTile,
      long rounded,
      int rows,
      int[] panel,
      float[] out,
      int outOffset,
      int outColumns);

  private static native long address(ByteBuffer buffer);
}
