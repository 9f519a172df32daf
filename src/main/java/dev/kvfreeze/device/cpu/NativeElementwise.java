package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.PageLayout;
import java.util.Objects;

/**
 * The elementwise kernels of {@code elementwise.c}: those that the Vector API leaves scalar.
 * Results are the scalar kernels' to the bit.
 */
final class NativeElementwise {
  /** As in elementwise.c. */
  private static final int MOST_TOKEN_WORDS = 256;

  private NativeElementwise() {}

  /**
   * Rotates the pairs {@code (2i, 2i + 1)} of every head of {@code rows} rows of {@code columns}
   * values.
   *
   * @param table where the first row's angles begin; {@code pairs} for each row
   */
  static void rotateNeighbours(
      float[] x,
      int at,
      int columns,
      int headSize,
      int rows,
      float[] cosines,
      float[] sines,
      int table,
      int pairs) {
    if (headSize < 1 || columns % headSize != 0 || pairs < 0 || 2 * pairs > headSize) {
      throw new IllegalArgumentException(
          pairs + " pairs in heads of " + headSize + ", rows of " + columns);
    }
    Objects.checkFromIndexSize(at, Math.multiplyExact(rows, columns), x.length);
    int angles = Math.multiplyExact(rows, pairs);
    Objects.checkFromIndexSize(table, angles, cosines.length);
    Objects.checkFromIndexSize(table, angles, sines.length);
    rotateNeighbours0(x, at, columns, headSize, rows, cosines, sines, table, pairs);
  }

  /**
   * Writes the keys and values of consecutive tokens into one page, see {@link PageLayout}.
   *
   * @param keyAt where the first token's key begins; the next {@code keyStride} further
   * @param page where the page begins in {@code slab}
   * @param token the first one's place in the page
   */
  static void writePage(
      float[] keys,
      int keyAt,
      int keyStride,
      float[] values,
      int valueAt,
      int valueStride,
      int tokens,
      PageLayout layout,
      int[] slab,
      int page,
      int token) {
    if (tokens < 1) {
      return;
    }
    int words = layout.wordsPerToken();
    int size = layout.headSize();
    Objects.checkFromIndexSize(token, tokens, layout.pageTokens());
    Objects.checkFromIndexSize(page, layout.wordsPerPage(), slab.length);
    checkRows(keyAt, keyStride, tokens, size, keys.length);
    checkRows(valueAt, valueStride, tokens, size, values.length);
    writePage0(
        keys,
        keyAt,
        keyStride,
        values,
        valueAt,
        valueStride,
        tokens,
        slab,
        page + token,
        page + layout.valueOffset() + token * words,
        words,
        layout.pageTokens(),
        layout.format().ordinal());
  }

  private static void checkRows(int at, int stride, int rows, int size, int length) {
    Objects.checkIndex(0, stride);
    int extent = Math.addExact(Math.multiplyExact(rows - 1, stride), size);
    Objects.checkFromIndexSize(at, extent, length);
  }

  private static native void rotateNeighbours0(
      float[] x,
      int at,
      int columns,
      int headSize,
      int rows,
      float[] cosines,
      float[] sines,
      int table,
      int pairs);

  private static native void writePage0(
      float[] keys,
      int keyAt,
      int keyStride,
      float[] values,
      int valueAt,
      int valueStride,
      int tokens,
      int[] slab,
      int slabKeyAt,
      int slabValueAt,
      int words,
      int pageTokens,
      int format);
}
