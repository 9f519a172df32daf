package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.HeadPages;

/**
 * The arithmetic of paged attention on one thread. Tokens of a run of pages are counted from 0
 * across the pages, so that ragged and missing pages leave no gaps in the scores.
 *
 * <p>Kernels are stateless and may run on many threads at once. Arrays that they fill must have
 * {@link #SLACK} elements more than asked for: vectors may write past the end.
 */
interface AttentionKernels {
  /** Elements that a kernel may write beyond the last one. */
  int SLACK = 64;

  /**
   * Dot products of decode: {@code scores[g * stride + t] = queries[g] . key[t]} for {@code group}
   * queries of {@code headSize} and the tokens of the pages {@code [from, to)}.
   */
  void scores(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] queries,
      int group,
      float[] scores,
      int stride);

  /**
   * Weighted values of decode: {@code sums[g * headSize + d]} becomes the sum over t of {@code
   * weights[g * stride + t] * value[t][d]}.
   *
   * @param panel scratch of {@code group * (headSize + SLACK)}
   */
  void weightedValues(
      CpuPageMemory memory,
      HeadPages pages,
      int from,
      int to,
      float[] weights,
      int group,
      int stride,
      float[] panel,
      float[] sums);

  /** The largest of {@code x[offset .. offset + count)}; NaN when one is. */
  float maximum(float[] x, int offset, int count);

  /** {@code x[i] = exp(x[i] - max)} in place, with {@code x[i] <= max}; returns their sum. */
  float exponentials(float[] x, int offset, int count, float max);

  /** {@code x[i] *= factor}. */
  void scale(float[] x, int offset, int count, float factor);

  /** {@code y[yOffset + i] += factor * x[xOffset + i]}. */
  void addScaled(float[] y, int yOffset, float[] x, int xOffset, int count, float factor);

  /**
   * Decodes keys of one page, transposed: dimension d of token {@code fromToken + i} goes to {@code
   * panel[d * stride + column + i]}. Columns after the last may be overwritten.
   */
  void packKeys(
      CpuPageMemory memory,
      int slot,
      int fromToken,
      int count,
      float[] panel,
      int column,
      int stride);

  /**
   * Decodes values of one page: dimension d of token {@code fromToken + i} goes to {@code
   * panel[panelOffset + i * stride + d]}.
   */
  void packValues(
      CpuPageMemory memory,
      int slot,
      int fromToken,
      int count,
      float[] panel,
      int panelOffset,
      int stride);

  /** Rows and columns of a product are multiples of these. */
  int PRODUCT_ROWS = 8;

  int PRODUCT_COLUMNS = 32;

  /** Rows that a product works on for so many: the next multiple of {@link #PRODUCT_ROWS}. */
  static int paddedRows(int rows) {
    return (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS * PRODUCT_ROWS;
  }

  /** Columns that a product works on for so many. */
  static int paddedColumns(int columns) {
    return (columns + PRODUCT_COLUMNS - 1) / PRODUCT_COLUMNS * PRODUCT_COLUMNS;
  }

  /**
   * {@code c = a * b} for {@code a[rows][depth]}, {@code b[depth][columns]}, with row strides; b
   * begins at {@code bOffset}.
   *
   * @param rows a multiple of {@link #PRODUCT_ROWS}
   * @param columns a multiple of {@link #PRODUCT_COLUMNS}
   */
  void multiply(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth);

  /** {@code c += a * b}, as {@link #multiply}. */
  void multiplyAdd(
      float[] a,
      int aStride,
      float[] b,
      int bOffset,
      int bStride,
      float[] c,
      int cStride,
      int rows,
      int columns,
      int depth);
}
