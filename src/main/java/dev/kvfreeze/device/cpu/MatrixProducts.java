package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;

import java.util.Arrays;
import java.util.function.Predicate;

/**
 * Runs matrix products on the worker pool. Float32 activations: few rows are multiplied one by one,
 * straight from the quantised tile; for more, a tile is dequantised a panel at a time and serves
 * all rows. Both give the same bits (see {@link TiledWeight}), so the choice is only one of speed.
 * Rounded activations: every row by itself, in 8 bits, where the weights have 4; they too are the
 * same in every batch. Where there are native kernels they do what may be rounded, see {@link
 * NativeProducts}.
 *
 * <p>One calling thread. Allocates nothing once its scratch has grown to the largest weight.
 */
final class MatrixProducts {
  /** Rows up to which the tile's quants are read anew for each row; measured, see the benchmark. */
  static final int MAX_SINGLE_ROWS = 2;

  /** Blocks dequantised at a time: 8 of them fill 32 KiB, the first cache holds 48. */
  private static final int PANEL_BLOCKS = 8;

  /** Rows that share a panel: their sums and inputs stay in the second cache. */
  private static final int GROUP_ROWS = 256;

  private final WorkerPool pool;
  private final MatmulKernels kernels;
  private final Scratch[] scratch;
  private final RangeTask singleTask = this::singleRows;
  private final RangeTask manyTask = this::manyRows;
  private final RangeTask roundedTask = this::roundedRows;
  private final RangeTask nativeTask = this::nativeRows;
  private final RoundedRows rounded = new RoundedRows();
  private final NativeProducts natives;
  private final Predicate<TiledWeight> nativeRounded;
  private final Predicate<TiledWeight> nativeShorts;

  // The product being computed.
  private float[] x;
  private int xAt;
  private int xStride;
  private int rows;
  private TiledWeight[] weights = new TiledWeight[0];
  private CpuActivations[] outs = new CpuActivations[0];
  private int count;
  private int outRow;
  private boolean roundsToBytes;
  private boolean roundsToSixteenBits;
  private Rounding nativeRounding;

  MatrixProducts(WorkerPool pool, MatmulKernels kernels, NativeLevel level) {
    this.pool = pool;
    this.kernels = kernels;
    this.natives = new NativeProducts(level, pool.threads());
    this.nativeRounded = natives::takesRounded;
    this.nativeShorts = natives::takesShorts;
    this.scratch = new Scratch[pool.threads()];
    Arrays.setAll(scratch, worker -> new Scratch());
  }

  /** How a product in C rounds its activations. */
  private enum Rounding {
    BYTES,
    SHORTS,
    BFLOAT16
  }

  /** Memory of one worker. */
  private static final class Scratch {
    float[] scales = new float[0];

    final float[] tile = new float[TILE_ROWS];
    float[] panel = new float[0];
    float[] firstSums = new float[0];
    float[] secondSums = new float[0];
    final int[] quants = new int[TiledWeight.BLOCK_COLUMNS];
    int[] dots = new int[0];

    /** Keeps {@link ReadAhead}'s loops alive. */
    int touched;

    void ensureDots(int length) {
      if (dots.length < length) {
        dots = new int[length];
      }
    }

    void ensureScales(int length) {
      if (scales.length < length) {
        scales = new float[length];
      }
    }

    void ensurePanels(int rows) {
      if (panel.length == 0) {
        panel = LineAligned.floats(PANEL_BLOCKS * TiledWeight.BLOCK_VALUES);
      }
      if (firstSums.length < rows * TILE_ROWS) {
        firstSums = new float[rows * TILE_ROWS];
        secondSums = new float[rows * TILE_ROWS];
      }
    }
  }

  /** Begins a product of {@code rows} rows of {@code x} from {@code firstRow}. */
  void begin(CpuActivations x, int firstRow, int rows, int outRow) {
    if (firstRow < 0 || rows < 0 || rows > x.rows() - firstRow) {
      throw new IllegalArgumentException(
          "rows " + firstRow + " to " + (firstRow + rows) + " of activations of " + x.rows());
    }
    this.x = x.values();
    this.xAt = firstRow * x.columns();
    this.xStride = x.columns();
    this.rows = rows;
    this.outRow = outRow;
    this.count = 0;
    this.roundsToBytes = false;
    this.roundsToSixteenBits = false;
  }

  /**
   * Allows the product begun to round its activations to 8 bits where the weights are quantised.
   */
  void roundActivations() {
    roundsToBytes = true;
  }

  /**
   * Allows the product begun to round activations to 16 bits where that is faster: to bfloat16, and
   * the weights too, where the processor multiplies matrices of them, to numbers of 15 bits and a
   * sign where the weights are quantised. It is float32 elsewhere.
   */
  void roundToSixteenBits() {
    roundsToSixteenBits = true;
  }

  /** Adds a weight that takes the same input. */
  void add(TiledWeight weight, CpuActivations out) {
    if (weight.columns() != xStride || out.columns() != weight.rows()) {
      throw new IllegalArgumentException(
          "weight "
              + weight.name()
              + " of "
              + weight.rows()
              + " x "
              + weight.columns()
              + " cannot multiply rows of "
              + xStride
              + " into rows of "
              + out.columns());
    }
    if (outRow < 0 || rows > out.rows() - outRow) {
      throw new IllegalArgumentException(
          "the product has " + rows + " rows from " + outRow + ", its target " + out.rows());
    }
    if (count == weights.length) {
      weights = Arrays.copyOf(weights, count + 4);
      outs = Arrays.copyOf(outs, count + 4);
    }
    weights[count] = weight;
    outs[count++] = out;
  }

  /** Computes what was added. */
  void run() {
    int tiles = 0;
    for (int i = 0; i < count; i++) {
      tiles += weights[i].tiles();
    }
    if (rows > 0) {
      pool.parallelForEven(tiles, task());
    }
    x = null;
    Arrays.fill(weights, 0, count, null);
    Arrays.fill(outs, 0, count, null);
  }

  private RangeTask task() {
    if (roundsToBytes && any(nativeRounded)) {
      natives.round(x, xAt, rows, xStride);
      nativeRounding = Rounding.BYTES;
      return nativeTask;
    }
    if (roundsToSixteenBits && natives.takesBfloat16()) {
      natives.roundToBfloat16(pool, x, xAt, rows, xStride);
      nativeRounding = Rounding.BFLOAT16;
      return nativeTask;
    }
    if (roundsToSixteenBits && any(nativeShorts)) {
      natives.roundToShorts(pool, x, xAt, rows, xStride);
      nativeRounding = Rounding.SHORTS;
      return nativeTask;
    }
    if (roundsToBytes && any(MatrixProducts::takesRounded)) {
      rounded.reset(rows, xStride);
      for (int row = 0; row < rows; row++) {
        kernels.round(x, xAt + row * xStride, rounded, row, scratch[0].quants);
      }
      return roundedTask;
    }
    return rows <= MAX_SINGLE_ROWS ? singleTask : manyTask;
  }

  private boolean any(Predicate<TiledWeight> test) {
    for (int i = 0; i < count; i++) {
      if (test.test(weights[i])) {
        return true;
      }
    }
    return false;
  }

  private static boolean takesRounded(TiledWeight weight) {
    return weight instanceof QuantizedWeight quantized && quantized.takesRounded();
  }

  private void roundedRows(int worker, int from, int to) {
    int weight = 0;
    int tile = from;
    for (int item = from; item < to; item++, tile++) {
      while (tile >= weights[weight].tiles()) {
        tile -= weights[weight++].tiles();
      }
      readAhead(scratch[worker], weights[weight], tile, item - from, to - item);
      if (takesRounded(weights[weight])) {
        roundedTile(scratch[worker], (QuantizedWeight) weights[weight], tile, outs[weight]);
      } else {
        floatTile(scratch[worker], weights[weight], tile, outs[weight]);
      }
    }
  }

  private void nativeRows(int worker, int from, int to) {
    int weight = 0;
    int tile = from;
    int left = to - from;
    while (left > 0) {
      while (tile >= weights[weight].tiles()) {
        tile -= weights[weight++].tiles();
      }
      int end = tile + Math.min(left, weights[weight].tiles() - tile);
      multiplyNatively(worker, weights[weight], tile, end, outs[weight]);
      left -= end - tile;
      tile = end;
    }
  }

  private void multiplyNatively(
      int worker, TiledWeight weight, int from, int to, CpuActivations out) {
    if (nativeRounding == Rounding.BFLOAT16) {
      natives.multiplyBfloat16(worker, weight, from, to, rows, out, outRow);
    } else if (!(weight instanceof QuantizedWeight quantized)) {
      for (int tile = from; tile < to; tile++) {
        floatTile(scratch[worker], weight, tile, out);
      }
    } else if (nativeRounding == Rounding.BYTES) {
      natives.multiplyRounded(quantized, from, to, rows, out, outRow);
    } else {
      natives.multiplyShorts(quantized, from, to, rows, out, outRow);
    }
  }

  /** A tile times float32 activations. */
  private void floatTile(Scratch own, TiledWeight weight, int tile, CpuActivations out) {
    if (rows <= MAX_SINGLE_ROWS) {
      singleTile(own, weight, tile, out);
    } else {
      manyTile(own, weight, tile, out);
    }
  }

  private void roundedTile(Scratch own, QuantizedWeight weight, int tile, CpuActivations out) {
    own.ensureScales(MatmulKernels.scratchLength(weight));
    own.ensureDots(weight.blocks() * TILE_ROWS);
    kernels.decodeScales(weight, tile, own.scales);
    int tileRows = weight.tileRows(tile);
    for (int row = 0; row < rows; row++) {
      int at = (outRow + row) * out.columns() + tile * TILE_ROWS;
      boolean whole = tileRows == TILE_ROWS;
      float[] target = whole ? out.values() : own.tile;
      kernels.multiplyRounded(
          weight, tile, rounded, row, target, whole ? at : 0, own.scales, own.dots);
      if (!whole) {
        System.arraycopy(own.tile, 0, out.values(), at, tileRows);
      }
    }
  }

  private void singleRows(int worker, int from, int to) {
    int weight = 0;
    int tile = from;
    for (int item = from; item < to; item++, tile++) {
      while (tile >= weights[weight].tiles()) {
        tile -= weights[weight++].tiles();
      }
      readAhead(scratch[worker], weights[weight], tile, item - from, to - item);
      singleTile(scratch[worker], weights[weight], tile, outs[weight]);
    }
  }

  /** Every few tiles of a range, touches as many as the first cache holds. */
  private static void readAhead(Scratch own, TiledWeight weight, int tile, int done, int left) {
    if (weight instanceof QuantizedWeight quantized) {
      int ahead = Math.max(1, ReadAhead.WORDS / quantized.wordsPerTile());
      if (done % ahead == 0) {
        int end = Math.min(quantized.tiles(), tile + Math.min(ahead, left));
        own.touched +=
            ReadAhead.touch(quantized.words, quantized.tileAt(tile), quantized.tileAt(end));
      }
    }
  }

  private void singleTile(Scratch own, TiledWeight weight, int tile, CpuActivations out) {
    own.ensureScales(MatmulKernels.scratchLength(weight));
    int tileRows = weight.tileRows(tile);
    for (int row = 0; row < rows; row++) {
      int at = (outRow + row) * out.columns() + tile * TILE_ROWS;
      if (tileRows == TILE_ROWS) {
        kernels.multiplyTile(weight, tile, x, xAt + row * xStride, out.values(), at, own.scales);
      } else {
        kernels.multiplyTile(weight, tile, x, xAt + row * xStride, own.tile, 0, own.scales);
        System.arraycopy(own.tile, 0, out.values(), at, tileRows);
      }
    }
  }

  private void manyRows(int worker, int from, int to) {
    int weight = 0;
    int tile = from;
    for (int item = from; item < to; item++, tile++) {
      while (tile >= weights[weight].tiles()) {
        tile -= weights[weight++].tiles();
      }
      manyTile(scratch[worker], weights[weight], tile, outs[weight]);
    }
  }

  private void manyTile(Scratch own, TiledWeight weight, int tile, CpuActivations out) {
    own.ensureScales(MatmulKernels.scratchLength(weight));
    own.ensurePanels(Math.min(rows, GROUP_ROWS));
    kernels.decodeScales(weight, tile, own.scales);
    int half = weight.firstChainBlocks();
    for (int row = 0; row < rows; row += GROUP_ROWS) {
      int groupRows = Math.min(GROUP_ROWS, rows - row);
      multiplyChain(own, weight, tile, 0, half, row, groupRows, own.firstSums);
      multiplyChain(own, weight, tile, half, weight.blocks(), row, groupRows, own.secondSums);
      store(
          own,
          groupRows,
          out,
          (outRow + row) * out.columns() + tile * TILE_ROWS,
          weight.tileRows(tile));
    }
  }

  private void multiplyChain(
      Scratch own,
      TiledWeight weight,
      int tile,
      int fromBlock,
      int toBlock,
      int row,
      int groupRows,
      float[] sums) {
    Arrays.fill(sums, 0, groupRows * TILE_ROWS, 0);
    for (int block = fromBlock; block < toBlock; block += PANEL_BLOCKS) {
      int end = Math.min(toBlock, block + PANEL_BLOCKS);
      kernels.dequantize(weight, tile, block, end, own.panel, LineAligned.FIRST, own.scales);
      kernels.multiplyPanel(
          x,
          xAt + row * xStride + block * BLOCK_COLUMNS,
          xStride,
          groupRows,
          own.panel,
          LineAligned.FIRST,
          (end - block) * BLOCK_COLUMNS,
          sums,
          0);
    }
  }

  private static void store(
      Scratch own, int groupRows, CpuActivations out, int outAt, int tileRows) {
    float[] values = out.values();
    for (int row = 0; row < groupRows; row++) {
      int at = outAt + row * out.columns();
      for (int i = 0; i < tileRows; i++) {
        values[at + i] = own.firstSums[row * TILE_ROWS + i] + own.secondSums[row * TILE_ROWS + i];
      }
    }
  }
}
