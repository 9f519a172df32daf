package dev.kvfreeze.device.cuda;

/**
 * Rows of activations rounded to 8 bits, in scratch memory, as decode products read them ({@code
 * src/main/cuda/README.md}, "Rounded activations").
 *
 * @param paddedRows a multiple of 8
 */
record RoundedRows(long quants, long scales, int paddedRows) {
  /** Room for rows; the scratch memory's present operation. */
  static RoundedRows take(Scratch scratch, int rows, int columns) {
    int padded = 8 * Kernels.divideUp(rows, 8);
    scratch.begin();
    return new RoundedRows(
        scratch.take("rounded activations", (long) padded * columns),
        scratch.take("rounded activations", (long) padded * columns / 32 * 8),
        padded);
  }
}
