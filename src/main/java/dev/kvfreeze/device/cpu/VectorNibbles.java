package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.QuantizedWeight.DECODED_GROUP;
import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;
import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_VALUES;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHR;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** Kernels over unsigned 4-bit quants, 8 columns a word; scales are decoded beforehand. */
final class VectorNibbles {
  private static final int MASK = 15;
  private static final int BITS = 4;

  private VectorNibbles() {}

  /**
   * One row of activations times {@code 2 * LANES} rows of a tile. Both chains run side by side,
   * two vectors each: four independent sums hide the adder's latency.
   *
   * @param words of the weight
   * @param at where the wanted rows of the first stored block's quants begin
   * @param pairWords words from a pair of blocks to the next
   * @param lastAt where the wanted rows of a last block without a partner begin
   * @param scalesAt where their first scale lies
   * @param blocks blocks of the tile
   */
  static void multiply(
      int[] words,
      int at,
      int pairWords,
      int lastAt,
      float[] scales,
      int scalesAt,
      int blocks,
      float[] x,
      int xAt,
      float[] out,
      int outAt) {
    int pairs = blocks / 2;
    int secondAt = xAt + (blocks - pairs) * BLOCK_COLUMNS;
    FloatVector sumA0 = FloatVector.zero(FLOATS);
    FloatVector sumA1 = FloatVector.zero(FLOATS);
    FloatVector sumB0 = FloatVector.zero(FLOATS);
    FloatVector sumB1 = FloatVector.zero(FLOATS);
    // A word's columns in an inner loop of their own, everything but the sums loaded in the outer
    // one: with more crossing the loops, or the columns written out, JDK 17 boxes vectors in some
    // JVM runs (KernelSelfCheck sees it).
    for (int step = 0; step < BITS * pairs; step++) {
      int sA = scalesAt + step / BITS * 2 * DECODED_GROUP;
      int sB = sA + DECODED_GROUP;
      FloatVector scaleA0 = FloatVector.fromArray(FLOATS, scales, sA);
      FloatVector scaleA1 = FloatVector.fromArray(FLOATS, scales, sA + LANES);
      FloatVector scaleB0 = FloatVector.fromArray(FLOATS, scales, sB);
      FloatVector scaleB1 = FloatVector.fromArray(FLOATS, scales, sB + LANES);
      FloatVector minimumA0 = FloatVector.fromArray(FLOATS, scales, sA + TILE_ROWS);
      FloatVector minimumA1 = FloatVector.fromArray(FLOATS, scales, sA + TILE_ROWS + LANES);
      FloatVector minimumB0 = FloatVector.fromArray(FLOATS, scales, sB + TILE_ROWS);
      FloatVector minimumB1 = FloatVector.fromArray(FLOATS, scales, sB + TILE_ROWS + LANES);
      int a = at + step / BITS * pairWords + step % BITS * 2 * TILE_ROWS;
      int b = a + TILE_ROWS;
      IntVector wordsA0 = IntVector.fromArray(INTS, words, a);
      IntVector wordsA1 = IntVector.fromArray(INTS, words, a + LANES);
      IntVector wordsB0 = IntVector.fromArray(INTS, words, b);
      IntVector wordsB1 = IntVector.fromArray(INTS, words, b + LANES);
      int column = step * 8;
      for (int i = 0; i < 8; i++) {
        FloatVector xA = FloatVector.broadcast(FLOATS, x[xAt + column + i]);
        FloatVector xB = FloatVector.broadcast(FLOATS, x[secondAt + column + i]);
        sumA0 =
            xA.lanewise(
                FMA,
                scaleA0.lanewise(
                    FMA, wordsA0.lanewise(AND, MASK).convertShape(I2F, FLOATS, 0), minimumA0),
                sumA0);
        sumA1 =
            xA.lanewise(
                FMA,
                scaleA1.lanewise(
                    FMA, wordsA1.lanewise(AND, MASK).convertShape(I2F, FLOATS, 0), minimumA1),
                sumA1);
        sumB0 =
            xB.lanewise(
                FMA,
                scaleB0.lanewise(
                    FMA, wordsB0.lanewise(AND, MASK).convertShape(I2F, FLOATS, 0), minimumB0),
                sumB0);
        sumB1 =
            xB.lanewise(
                FMA,
                scaleB1.lanewise(
                    FMA, wordsB1.lanewise(AND, MASK).convertShape(I2F, FLOATS, 0), minimumB1),
                sumB1);
        wordsA0 = wordsA0.lanewise(LSHR, BITS);
        wordsA1 = wordsA1.lanewise(LSHR, BITS);
        wordsB0 = wordsB0.lanewise(LSHR, BITS);
        wordsB1 = wordsB1.lanewise(LSHR, BITS);
      }
    }
    sumA0.intoArray(out, outAt);
    sumA1.intoArray(out, outAt + LANES);
    if (blocks % 2 != 0) {
      int last = blocks - 1;
      multiplyBlock(
          words,
          lastAt,
          scales,
          scalesAt + last * DECODED_GROUP,
          x,
          xAt + pairs * BLOCK_COLUMNS,
          out,
          outAt);
    }
    sumB0.lanewise(ADD, FloatVector.fromArray(FLOATS, out, outAt)).intoArray(out, outAt);
    sumB1
        .lanewise(ADD, FloatVector.fromArray(FLOATS, out, outAt + LANES))
        .intoArray(out, outAt + LANES);
  }

  /** Adds one block's products to {@code out}. */
  private static void multiplyBlock(
      int[] words,
      int at,
      float[] scales,
      int scalesAt,
      float[] x,
      int xAt,
      float[] out,
      int outAt) {
    for (int v = 0; v < 2 * LANES; v += LANES) {
      FloatVector sum = FloatVector.fromArray(FLOATS, out, outAt + v);
      FloatVector scale = FloatVector.fromArray(FLOATS, scales, scalesAt + v);
      FloatVector minimum = FloatVector.fromArray(FLOATS, scales, scalesAt + TILE_ROWS + v);
      for (int w = 0; w < BITS; w++) {
        IntVector quants = IntVector.fromArray(INTS, words, at + w * TILE_ROWS + v);
        for (int i = 0; i < 8; i++) {
          sum =
              FloatVector.broadcast(FLOATS, x[xAt + w * 8 + i])
                  .lanewise(
                      FMA,
                      scale.lanewise(
                          FMA, quants.lanewise(AND, MASK).convertShape(I2F, FLOATS, 0), minimum),
                      sum);
          quants = quants.lanewise(LSHR, BITS);
        }
      }
      sum.intoArray(out, outAt + v);
    }
  }

  /**
   * One stored block as float32 to {@code panel[panelAt + column * 32 + row]}.
   *
   * @param stride words from one group of a word's columns to the next
   */
  static void dequantize(
      int[] words, int at, int stride, float[] scales, int scalesAt, float[] panel, int panelAt) {
    for (int v = 0; v < TILE_ROWS; v += LANES) {
      FloatVector scale = FloatVector.fromArray(FLOATS, scales, scalesAt + v);
      FloatVector minimum = FloatVector.fromArray(FLOATS, scales, scalesAt + TILE_ROWS + v);
      for (int w = 0; w < BITS; w++) {
        IntVector quants = IntVector.fromArray(INTS, words, at + w * stride + v);
        int to = panelAt + w * BLOCK_VALUES / BITS + v;
        for (int i = 0; i < 8; i++) {
          scale
              .lanewise(FMA, quants.lanewise(AND, MASK).convertShape(I2F, FLOATS, 0), minimum)
              .intoArray(panel, to + i * TILE_ROWS);
          quants = quants.lanewise(LSHR, BITS);
        }
      }
    }
  }
}
