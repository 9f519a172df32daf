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
   * Integer dot products of one stored block of {@code 2 * LANES} rows: {@code dots[dotsAt + row]}.
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
    IntVector sum0 = none;
    IntVector sum1 = none;
    for (int w = 0; w < WORDS; w++) {
      IntVector x0 = IntVector.broadcast(INTS, pairs[pairsAt + 2 * w]);
      IntVector x1 = IntVector.broadcast(INTS, pairs[pairsAt + 2 * w + 1]);
      IntVector words0 = flips.lanewise(XOR, IntVector.fromArray(INTS, words, at + w * stride));
      IntVector words1 =
          flips.lanewise(XOR, IntVector.fromArray(INTS, words, at + w * stride + LANES));
      ShortVector quants0 = noShorts.lanewise(OR, words0.reinterpretAsShorts());
      ShortVector quants1 = noShorts.lanewise(OR, words1.reinterpretAsShorts());
      ShortVector products0 =
          quants0
              .lanewise(LSHL, 8)
              .lanewise(ASHR, 8)
              .lanewise(MUL, x0.reinterpretAsShorts())
              .lanewise(ADD, quants0.lanewise(ASHR, 8).lanewise(MUL, x1.reinterpretAsShorts()));
      ShortVector products1 =
          quants1
              .lanewise(LSHL, 8)
              .lanewise(ASHR, 8)
              .lanewise(MUL, x0.reinterpretAsShorts())
              .lanewise(ADD, quants1.lanewise(ASHR, 8).lanewise(MUL, x1.reinterpretAsShorts()));
      IntVector halves0 = none.lanewise(OR, products0.reinterpretAsInts());
      IntVector halves1 = none.lanewise(OR, products1.reinterpretAsInts());
      sum0 =
          sum0.lanewise(ADD, halves0.lanewise(ASHR, 16))
              .lanewise(ADD, halves0.lanewise(LSHL, 16).lanewise(ASHR, 16));
      sum1 =
          sum1.lanewise(ADD, halves1.lanewise(ASHR, 16))
              .lanewise(ADD, halves1.lanewise(LSHL, 16).lanewise(ASHR, 16));
    }
    sum0.intoArray(dots, dotsAt);
    sum1.intoArray(dots, dotsAt + LANES);
  }

  /** The dot products of every block of a tile, in stored order as memory has them. */
  static void dots(
      QuantizedWeight weight, int tile, int strip, int[] pairs, int pairsAt, int[] dots) {
    int flip = weight.signFlip();
    for (int stored = 0; stored < weight.blocks(); stored++) {
      dots(
          weight.words,
          weight.blockAt(tile, stored) + strip,
          weight.quantStride(stored),
          flip,
          pairs,
          pairsAt + stored * BLOCK_PAIRS,
          dots,
          stored * TILE_ROWS + strip);
    }
  }
}
