package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.HalfFloats.SHIFTED_HALF;
import static dev.kvfreeze.device.cpu.QuantizedWeight.DECODED_GROUP;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.MUL;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * Decodes the scales of a whole tile to float32, so that the kernels behind it need not know how a
 * format stores them: for each stored block and group 32 scales, then 32 minimums. They stay in the
 * first or second cache until the tile is done. Between the scales of one pair of blocks and of the
 * next lies a gap, their quants.
 */
final class VectorScales {
  private VectorScales() {}

  static void decode(QuantizedWeight weight, int tile, float[] scales) {
    int at = weight.tileAt(tile);
    int gap = 2 * weight.quantWordsPerBlock();
    int blocks = weight.blocks();
    switch (weight.scaleKind) {
      case HALF_PAIR -> halfPairs(weight.words, at, gap, blocks, scales);
      case HALF -> halves(weight.words, at, gap, blocks, -weight.zeroPoint, scales);
      case FLOAT_PAIR -> floatPairs(weight.words, at, gap, blocks, scales);
      case FLOAT_TWO_GROUPS -> floats(weight.words, at, gap, 2 * blocks, -weight.zeroPoint, scales);
    }
  }

  private static void halfPairs(int[] words, int at, int gap, int blocks, float[] scales) {
    FloatVector rebias = FloatVector.broadcast(FLOATS, HalfFloats.REBIAS);
    for (int i = 0; i < blocks * TILE_ROWS; i += LANES) {
      IntVector pair = IntVector.fromArray(INTS, words, at + i + i / (2 * TILE_ROWS) * gap);
      int to = i / TILE_ROWS * DECODED_GROUP + i % TILE_ROWS;
      rebias
          .lanewise(
              MUL,
              pair.lanewise(LSHL, 16)
                  .lanewise(ASHR, 3)
                  .lanewise(AND, SHIFTED_HALF)
                  .reinterpretAsFloats())
          .intoArray(scales, to);
      rebias
          .lanewise(MUL, pair.lanewise(ASHR, 3).lanewise(AND, SHIFTED_HALF).reinterpretAsFloats())
          .intoArray(scales, to + TILE_ROWS);
    }
  }

  private static void halves(
      int[] words, int at, int gap, int blocks, float factor, float[] scales) {
    FloatVector rebias = FloatVector.broadcast(FLOATS, HalfFloats.REBIAS);
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    for (int i = 0; i < blocks * 16; i += LANES) {
      IntVector pair = IntVector.fromArray(INTS, words, at + i + i / (2 * 16) * gap);
      int to = i / 16 * DECODED_GROUP + i % 16;
      FloatVector low =
          rebias.lanewise(
              MUL,
              pair.lanewise(LSHL, 16)
                  .lanewise(ASHR, 3)
                  .lanewise(AND, SHIFTED_HALF)
                  .reinterpretAsFloats());
      FloatVector high =
          rebias.lanewise(
              MUL, pair.lanewise(ASHR, 3).lanewise(AND, SHIFTED_HALF).reinterpretAsFloats());
      low.intoArray(scales, to);
      high.intoArray(scales, to + 16);
      factors.lanewise(MUL, low).intoArray(scales, to + TILE_ROWS);
      factors.lanewise(MUL, high).intoArray(scales, to + TILE_ROWS + 16);
    }
  }

  private static void floatPairs(int[] words, int at, int gap, int blocks, float[] scales) {
    FloatVector one = FloatVector.broadcast(FLOATS, 1);
    for (int i = 0; i < blocks * DECODED_GROUP; i += LANES) {
      IntVector bits = IntVector.fromArray(INTS, words, at + i + i / (2 * DECODED_GROUP) * gap);
      // Times one, because storing a reinterpreted vector itself is boxed by JDK 17 in some runs.
      one.lanewise(MUL, bits.reinterpretAsFloats()).intoArray(scales, i);
    }
  }

  private static void floats(
      int[] words, int at, int gap, int groups, float factor, float[] scales) {
    FloatVector one = FloatVector.broadcast(FLOATS, 1);
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    for (int i = 0; i < groups * TILE_ROWS; i += LANES) {
      IntVector bits = IntVector.fromArray(INTS, words, at + i + i / (4 * TILE_ROWS) * gap);
      int to = i / TILE_ROWS * DECODED_GROUP + i % TILE_ROWS;
      one.lanewise(MUL, bits.reinterpretAsFloats()).intoArray(scales, to);
      factors.lanewise(MUL, bits.reinterpretAsFloats()).intoArray(scales, to + TILE_ROWS);
    }
  }
}
