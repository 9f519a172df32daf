package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.RoundedRows.BLOCK_PAIRS;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static dev.kvfreeze.device.cpu.Vectors.SHORTS;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.OR;

import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;

/**
 * Rounded activations times unsigned 4-bit quants, in 16-bit arithmetic: each half of a word of
 * quants gives 16 of a block's columns, and 16 products of 15 and 127 stay below 2^15. About half
 * the operations a weight of the same in float32, so that memory sets the speed.
 */
final class VectorRoundedNibbles {
  private static final short MASK = 15;
  private static final int BITS = 4;
  private static final int WORDS = BITS;

  private VectorRoundedNibbles() {}

  /**
   * Integer dot products of every block of {@code 2 * LANES} rows of a tile: {@code dots[stored
   * block * 32 + row]}.
   *
   * @param words of the weight
   * @param at where the wanted rows of the first stored block's quants begin
   * @param pairWords words from a pair of blocks to the next
   * @param blocks blocks of the tile
   * @param pairs of the row of activations, see {@link RoundedRows}
   * @param pairsAt where the row begins
   * @param dotsAt where the first row's result goes
   */
  static void dots(
      int[] words,
      int at,
      int pairWords,
      int blocks,
      int[] pairs,
      int pairsAt,
      int[] dots,
      int dotsAt) {
    ShortVector mask = ShortVector.broadcast(SHORTS, MASK);
    IntVector none = IntVector.zero(INTS);
    // One block at a time: with the four sums of a pair the method is too long to be inlined to its
    // end, and its last vectors are boxed by JDK 17 in some runs.
    for (int block = 0; block < blocks / 2 * 2; block++) {
      ShortVector sum0 = ShortVector.zero(SHORTS);
      ShortVector sum1 = ShortVector.zero(SHORTS);
      for (int w = 0; w < WORDS; w++) {
        int from = at + block / 2 * pairWords + (2 * w + block % 2) * TILE_ROWS;
        IntVector words0 = IntVector.fromArray(INTS, words, from);
        IntVector words1 = IntVector.fromArray(INTS, words, from + LANES);
        int x = pairsAt + block * BLOCK_PAIRS + w * 4;
        // Reinterpreted vectors only as arguments, and the words shifted once a turn: anything
        // else is boxed by JDK 17 in some runs.
        for (int i = 0; i < 4; i++) {
          IntVector column = IntVector.broadcast(INTS, pairs[x + i]);
          sum0 =
              sum0.lanewise(
                  ADD,
                  mask.lanewise(AND, words0.reinterpretAsShorts())
                      .lanewise(MUL, column.reinterpretAsShorts()));
          sum1 =
              sum1.lanewise(
                  ADD,
                  mask.lanewise(AND, words1.reinterpretAsShorts())
                      .lanewise(MUL, column.reinterpretAsShorts()));
          words0 = words0.lanewise(LSHR, BITS);
          words1 = words1.lanewise(LSHR, BITS);
        }
      }
      IntVector halves0 = none.lanewise(OR, sum0.reinterpretAsInts());
      IntVector halves1 = none.lanewise(OR, sum1.reinterpretAsInts());
      int to = dotsAt + block * TILE_ROWS;
      halves0
          .lanewise(LSHL, 16)
          .lanewise(ASHR, 16)
          .lanewise(ADD, halves0.lanewise(ASHR, 16))
          .intoArray(dots, to);
      halves1
          .lanewise(LSHL, 16)
          .lanewise(ASHR, 16)
          .lanewise(ADD, halves1.lanewise(ASHR, 16))
          .intoArray(dots, to + LANES);
    }
  }

  /** The same of {@code LANES} rows of a last block that has no partner. */
  static void lastDots(int[] words, int at, int[] pairs, int pairsAt, int[] dots, int dotsAt) {
    ShortVector mask = ShortVector.broadcast(SHORTS, MASK);
    ShortVector sum = ShortVector.zero(SHORTS);
    for (int w = 0; w < WORDS; w++) {
      IntVector quants = IntVector.fromArray(INTS, words, at + w * TILE_ROWS);
      for (int i = 0; i < 4; i++) {
        IntVector x = IntVector.broadcast(INTS, pairs[pairsAt + 4 * w + i]);
        sum =
            sum.lanewise(
                ADD,
                mask.lanewise(AND, quants.reinterpretAsShorts())
                    .lanewise(MUL, x.reinterpretAsShorts()));
        quants = quants.lanewise(LSHR, BITS);
      }
    }
    IntVector halves = IntVector.zero(INTS).lanewise(OR, sum.reinterpretAsInts());
    halves
        .lanewise(LSHL, 16)
        .lanewise(ASHR, 16)
        .lanewise(ADD, halves.lanewise(ASHR, 16))
        .intoArray(dots, dotsAt);
  }

  /** The dot products of every block of {@code 2 * LANES} rows of a tile. */
  static void dots(
      QuantizedWeight weight, int tile, int strip, int[] pairs, int pairsAt, int[] dots) {
    int blocks = weight.blocks();
    int first = weight.blockAt(tile, 0) + strip;
    dots(weight.words, first, weight.pairWords(), blocks, pairs, pairsAt, dots, strip);
    if (blocks % 2 != 0) {
      int last = blocks - 1;
      int at = weight.blockAt(tile, last) + strip;
      int x = pairsAt + last * BLOCK_PAIRS;
      for (int v = 0; v < 2 * LANES; v += LANES) {
        lastDots(weight.words, at + v, pairs, x, dots, last * TILE_ROWS + strip + v);
      }
    }
  }
}
