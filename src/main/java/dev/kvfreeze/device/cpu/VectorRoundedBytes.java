package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.RoundedRows.BLOCK_PAIRS;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static dev.kvfreeze.device.cpu.Vectors.SHORTS;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.OR;
import static jdk.incubator.vector.VectorOperators.XOR;

import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;

/**
 * Rounded activations times signed 8-bit quants, in 16-bit arithmetic: each half of a word of
 * quants gives two columns, and two products of 127 and 127 stay below 2^15 before they are
 * widened.
 */
final class VectorRoundedBytes {
  private static final int WORDS = 8;

  private VectorRoundedBytes() {}

  /**
   * Integer dot products of one stored block of {@code LANES} rows: {@code dots[dotsAt + row]}. Of
   * twice as many at once the method is so long that JDK 17 boxes vectors in some runs.
   *
   * @param at where the rows of the block begin in {@code words}
   * @param stride words from one word of a row to its next
   * @param flip what makes the stored quants signed: 0 or 0x80808080
   * @param pairs of the row of activations, see {@link RoundedRows#bytePairs}
   * @param pairsAt where the block begins
   */
  static void dots(
      int[] words, int at, int stride, int flip, int[] pairs, int pairsAt, int[] dots, int dotsAt) {
    ShortVector noShorts = ShortVector.zero(SHORTS);
    IntVector none = IntVector.zero(INTS);
    IntVector flips = IntVector.broadcast(INTS, flip);
    IntVector sum = none;
    for (int w = 0; w < WORDS; w++) {
      IntVector x0 = IntVector.broadcast(INTS, pairs[pairsAt + 2 * w]);
      IntVector x1 = IntVector.broadcast(INTS, pairs[pairsAt + 2 * w + 1]);
      IntVector signed = flips.lanewise(XOR, IntVector.fromArray(INTS, words, at + w * stride));
      ShortVector quants = noShorts.lanewise(OR, signed.reinterpretAsShorts());
      ShortVector products =
          quants
              .lanewise(LSHL, 8)
              .lanewise(ASHR, 8)
              .lanewise(MUL, x0.reinterpretAsShorts())
              .lanewise(ADD, quants.lanewise(ASHR, 8).lanewise(MUL, x1.reinterpretAsShorts()));
      IntVector halves = none.lanewise(OR, products.reinterpretAsInts());
      sum =
          sum.lanewise(ADD, halves.lanewise(ASHR, 16))
              .lanewise(ADD, halves.lanewise(LSHL, 16).lanewise(ASHR, 16));
    }
    sum.intoArray(dots, dotsAt);
  }

  /** The dot products of every block of a tile, in stored order as memory has them. */
  static void dots(
      QuantizedWeight weight, int tile, int strip, int[] pairs, int pairsAt, int[] dots) {
    int flip = weight.signFlip();
    for (int stored = 0; stored < weight.blocks(); stored++) {
      int at = weight.blockAt(tile, stored) + strip;
      int stride = weight.quantStride(stored);
      int x = pairsAt + stored * BLOCK_PAIRS;
      int to = stored * TILE_ROWS + strip;
      for (int v = 0; v < 2 * LANES; v += LANES) {
        dots(weight.words, at + v, stride, flip, pairs, x, dots, to + v);
      }
    }
  }
}
