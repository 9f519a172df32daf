package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.HalfFloats.SHIFTED_HALF;
import static dev.kvfreeze.device.cpu.SixteenBitWeight.BLOCK_WORDS;
import static dev.kvfreeze.device.cpu.TiledWeight.BLOCK_COLUMNS;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.MUL;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** Kernels over BF16 and F16 weights, two columns a word. */
final class VectorSixteen {
  private static final int WORD_ROWS = BLOCK_COLUMNS / 2;
  private static final int HIGH_HALF = 0xffff_0000;

  private VectorSixteen() {}

  /**
   * One row of activations times {@code 2 * LANES} rows of a BF16 tile.
   *
   * @param at where the wanted rows of the tile's first stored block begin
   */
  static void multiplyBfloat(
      int[] words, int at, int blocks, float[] x, int xAt, float[] out, int outAt) {
    int pairs = blocks / 2;
    int secondAt = xAt + (blocks - pairs) * BLOCK_COLUMNS;
    FloatVector sumA0 = FloatVector.zero(FLOATS);
    FloatVector sumA1 = FloatVector.zero(FLOATS);
    FloatVector sumB0 = FloatVector.zero(FLOATS);
    FloatVector sumB1 = FloatVector.zero(FLOATS);
    for (int pair = 0; pair < pairs; pair++) {
      int first = at + 2 * pair * BLOCK_WORDS;
      for (int w = 0; w < WORD_ROWS; w++) {
        int a = first + w * TILE_ROWS;
        int b = a + BLOCK_WORDS;
        int column = pair * BLOCK_COLUMNS + 2 * w;
        IntVector a0 = IntVector.fromArray(INTS, words, a);
        IntVector a1 = IntVector.fromArray(INTS, words, a + LANES);
        IntVector b0 = IntVector.fromArray(INTS, words, b);
        IntVector b1 = IntVector.fromArray(INTS, words, b + LANES);
        FloatVector lowA = FloatVector.broadcast(FLOATS, x[xAt + column]);
        FloatVector lowB = FloatVector.broadcast(FLOATS, x[secondAt + column]);
        FloatVector highA = FloatVector.broadcast(FLOATS, x[xAt + column + 1]);
        FloatVector highB = FloatVector.broadcast(FLOATS, x[secondAt + column + 1]);
        sumA0 = lowA.lanewise(FMA, a0.lanewise(LSHL, 16).reinterpretAsFloats(), sumA0);
        sumA1 = lowA.lanewise(FMA, a1.lanewise(LSHL, 16).reinterpretAsFloats(), sumA1);
        sumB0 = lowB.lanewise(FMA, b0.lanewise(LSHL, 16).reinterpretAsFloats(), sumB0);
        sumB1 = lowB.lanewise(FMA, b1.lanewise(LSHL, 16).reinterpretAsFloats(), sumB1);
        sumA0 = highA.lanewise(FMA, a0.lanewise(AND, HIGH_HALF).reinterpretAsFloats(), sumA0);
        sumA1 = highA.lanewise(FMA, a1.lanewise(AND, HIGH_HALF).reinterpretAsFloats(), sumA1);
        sumB0 = highB.lanewise(FMA, b0.lanewise(AND, HIGH_HALF).reinterpretAsFloats(), sumB0);
        sumB1 = highB.lanewise(FMA, b1.lanewise(AND, HIGH_HALF).reinterpretAsFloats(), sumB1);
      }
    }
    sumA0.intoArray(out, outAt);
    sumA1.intoArray(out, outAt + LANES);
    if (blocks % 2 != 0) {
      int last = at + (blocks - 1) * BLOCK_WORDS;
      addBfloatBlock(words, last, x, xAt + pairs * BLOCK_COLUMNS, out, outAt);
    }
    sumB0.lanewise(ADD, FloatVector.fromArray(FLOATS, out, outAt)).intoArray(out, outAt);
    sumB1
        .lanewise(ADD, FloatVector.fromArray(FLOATS, out, outAt + LANES))
        .intoArray(out, outAt + LANES);
  }

  /** One row of activations times {@code LANES} rows of an F16 tile. */
  static void multiplyHalf(
      int[] words, int at, int blocks, float[] x, int xAt, float[] out, int outAt) {
    int pairs = blocks / 2;
    int secondAt = xAt + (blocks - pairs) * BLOCK_COLUMNS;
    FloatVector rebias = FloatVector.broadcast(FLOATS, HalfFloats.REBIAS);
    FloatVector sumA = FloatVector.zero(FLOATS);
    FloatVector sumB = FloatVector.zero(FLOATS);
    // One flat loop over the pairs' words, for the reason that VectorNibbles gives.
    for (int step = 0; step < pairs * WORD_ROWS; step++) {
      int first = at + (step / WORD_ROWS * WORD_ROWS + step) * TILE_ROWS;
      IntVector a = IntVector.fromArray(INTS, words, first);
      IntVector b = IntVector.fromArray(INTS, words, first + BLOCK_WORDS);
      FloatVector lowA = FloatVector.broadcast(FLOATS, x[xAt + 2 * step]);
      FloatVector lowB = FloatVector.broadcast(FLOATS, x[secondAt + 2 * step]);
      FloatVector highA = FloatVector.broadcast(FLOATS, x[xAt + 2 * step + 1]);
      FloatVector highB = FloatVector.broadcast(FLOATS, x[secondAt + 2 * step + 1]);
      sumA =
          lowA.lanewise(
              FMA,
              rebias.lanewise(
                  MUL,
                  a.lanewise(LSHL, 16)
                      .lanewise(ASHR, 3)
                      .lanewise(AND, SHIFTED_HALF)
                      .reinterpretAsFloats()),
              sumA);
      sumB =
          lowB.lanewise(
              FMA,
              rebias.lanewise(
                  MUL,
                  b.lanewise(LSHL, 16)
                      .lanewise(ASHR, 3)
                      .lanewise(AND, SHIFTED_HALF)
                      .reinterpretAsFloats()),
              sumB);
      sumA =
          highA.lanewise(
              FMA,
              rebias.lanewise(
                  MUL, a.lanewise(ASHR, 3).lanewise(AND, SHIFTED_HALF).reinterpretAsFloats()),
              sumA);
      sumB =
          highB.lanewise(
              FMA,
              rebias.lanewise(
                  MUL, b.lanewise(ASHR, 3).lanewise(AND, SHIFTED_HALF).reinterpretAsFloats()),
              sumB);
    }
    sumA.intoArray(out, outAt);
    if (blocks % 2 != 0) {
      int last = at + (blocks - 1) * BLOCK_WORDS;
      addHalfBlock(words, last, x, xAt + pairs * BLOCK_COLUMNS, out, outAt);
    }
    sumB.lanewise(ADD, FloatVector.fromArray(FLOATS, out, outAt)).intoArray(out, outAt);
  }

  /** Adds one BF16 block's products to the sums of {@code 2 * LANES} rows. */
  private static void addBfloatBlock(
      int[] words, int at, float[] x, int xAt, float[] sums, int sumsAt) {
    FloatVector sum0 = FloatVector.fromArray(FLOATS, sums, sumsAt);
    FloatVector sum1 = FloatVector.fromArray(FLOATS, sums, sumsAt + LANES);
    for (int w = 0; w < WORD_ROWS; w++) {
      IntVector words0 = IntVector.fromArray(INTS, words, at + w * TILE_ROWS);
      IntVector words1 = IntVector.fromArray(INTS, words, at + w * TILE_ROWS + LANES);
      FloatVector low = FloatVector.broadcast(FLOATS, x[xAt + 2 * w]);
      FloatVector high = FloatVector.broadcast(FLOATS, x[xAt + 2 * w + 1]);
      sum0 = low.lanewise(FMA, words0.lanewise(LSHL, 16).reinterpretAsFloats(), sum0);
      sum1 = low.lanewise(FMA, words1.lanewise(LSHL, 16).reinterpretAsFloats(), sum1);
      sum0 = high.lanewise(FMA, words0.lanewise(AND, HIGH_HALF).reinterpretAsFloats(), sum0);
      sum1 = high.lanewise(FMA, words1.lanewise(AND, HIGH_HALF).reinterpretAsFloats(), sum1);
    }
    sum0.intoArray(sums, sumsAt);
    sum1.intoArray(sums, sumsAt + LANES);
  }

  /** Adds one F16 block's products to the sums of {@code LANES} rows. */
  private static void addHalfBlock(
      int[] words, int at, float[] x, int xAt, float[] sums, int sumsAt) {
    FloatVector rebias = FloatVector.broadcast(FLOATS, HalfFloats.REBIAS);
    FloatVector sum = FloatVector.fromArray(FLOATS, sums, sumsAt);
    for (int w = 0; w < WORD_ROWS; w++) {
      IntVector pair = IntVector.fromArray(INTS, words, at + w * TILE_ROWS);
      sum =
          FloatVector.broadcast(FLOATS, x[xAt + 2 * w])
              .lanewise(
                  FMA,
                  rebias.lanewise(
                      MUL,
                      pair.lanewise(LSHL, 16)
                          .lanewise(ASHR, 3)
                          .lanewise(AND, SHIFTED_HALF)
                          .reinterpretAsFloats()),
                  sum);
      sum =
          FloatVector.broadcast(FLOATS, x[xAt + 2 * w + 1])
              .lanewise(
                  FMA,
                  rebias.lanewise(
                      MUL,
                      pair.lanewise(ASHR, 3).lanewise(AND, SHIFTED_HALF).reinterpretAsFloats()),
                  sum);
    }
    sum.intoArray(sums, sumsAt);
  }

  /** One stored BF16 block as float32. */
  static void widenBfloat(int[] words, int at, float[] panel, int panelAt) {
    FloatVector one = FloatVector.broadcast(FLOATS, 1);
    for (int w = 0; w < WORD_ROWS; w++) {
      for (int v = 0; v < TILE_ROWS; v += LANES) {
        IntVector pair = IntVector.fromArray(INTS, words, at + w * TILE_ROWS + v);
        int to = panelAt + 2 * w * TILE_ROWS + v;
        one.lanewise(MUL, pair.lanewise(LSHL, 16).reinterpretAsFloats()).intoArray(panel, to);
        one.lanewise(MUL, pair.lanewise(AND, HIGH_HALF).reinterpretAsFloats())
            .intoArray(panel, to + TILE_ROWS);
      }
    }
  }

  /** One stored F16 block as float32. */
  static void widenHalf(int[] words, int at, float[] panel, int panelAt) {
    FloatVector rebias = FloatVector.broadcast(FLOATS, HalfFloats.REBIAS);
    for (int w = 0; w < WORD_ROWS; w++) {
      for (int v = 0; v < TILE_ROWS; v += LANES) {
        IntVector pair = IntVector.fromArray(INTS, words, at + w * TILE_ROWS + v);
        int to = panelAt + 2 * w * TILE_ROWS + v;
        rebias
            .lanewise(
                MUL,
                pair.lanewise(LSHL, 16)
                    .lanewise(ASHR, 3)
                    .lanewise(AND, SHIFTED_HALF)
                    .reinterpretAsFloats())
            .intoArray(panel, to);
        rebias
            .lanewise(MUL, pair.lanewise(ASHR, 3).lanewise(AND, SHIFTED_HALF).reinterpretAsFloats())
            .intoArray(panel, to + TILE_ROWS);
      }
    }
  }
}
