package dev.kvfreeze.device.cpu;

/**
 * The matrix product by tiles of 32 output rows; one implementation with vectors and its scalar
 * twin. All of them keep {@link TiledWeight}'s order of summation, so their results are equal to
 * the bit.
 */
interface MatmulKernels {
  /**
   * One row of activations, bound by memory: {@code out[outOffset + i] = sum over columns of
   * weight[tile * 32 + i] * x[xOffset + column]} for all 32 rows of the tile; padding rows give 0.
   *
   * @param scratch of at least {@link #scratchLength}
   */
  void multiplyTile(
      TiledWeight weight,
      int tile,
      float[] x,
      int xOffset,
      float[] out,
      int outOffset,
      float[] scratch);

  /**
   * Rounds one row of {@code rounded.blocks()} blocks to 8 bits: {@code scale = largest magnitude /
   * 127}, quants to the nearest, ties to even.
   *
   * @param quants 32 words of scratch
   */
  void round(float[] x, int xOffset, RoundedRows rounded, int row, int[] quants);

  /**
   * One row of rounded activations times all 32 rows of a tile of a weight that {@link
   * QuantizedWeight#takesRounded}. Integer dot products of each block, exact, then {@code sum of
   * scale * (activations' scale * dot)} plus {@code sum of minimum * activations' sum}, in stored
   * order.
   *
   * @param scratch as {@link #decodeScales} left it
   * @param dots of at least 32 words a block
   */
  void multiplyRounded(
      QuantizedWeight weight,
      int tile,
      RoundedRows rounded,
      int row,
      float[] out,
      int outOffset,
      float[] scratch,
      int[] dots);

  /** Floats of scratch that {@link #multiplyTile} and {@link #dequantize} need. */
  static int scratchLength(TiledWeight weight) {
    return weight instanceof QuantizedWeight quantized ? quantized.decodedScales() : 0;
  }

  /**
   * Decodes what {@link #dequantize} needs of a tile, once for all its panels.
   *
   * @param scratch of at least {@link #scratchLength}
   */
  void decodeScales(TiledWeight weight, int tile, float[] scratch);

  /**
   * Blocks {@code [fromBlock, toBlock)} of a tile as float32: {@code panel[panelOffset + column *
   * 32 + row]}, the first column at 0.
   *
   * @param scratch as {@link #decodeScales} left it
   */
  void dequantize(
      TiledWeight weight,
      int tile,
      int fromBlock,
      int toBlock,
      float[] panel,
      int panelOffset,
      float[] scratch);

  /**
   * Many rows of activations, bound by arithmetic: {@code sums[sumsOffset + r * 32 + i] += sum over
   * k of x[xOffset + r * xStride + k] * panel[panelOffset + k * 32 + i]} for {@code rows} rows and
   * {@code columns} columns.
   */
  void multiplyPanel(
      float[] x,
      int xOffset,
      int xStride,
      int rows,
      float[] panel,
      int panelOffset,
      int columns,
      float[] sums,
      int sumsOffset);
}
