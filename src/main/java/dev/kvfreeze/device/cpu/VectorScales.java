package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.QuantizedWeight.DECODED_GROUP;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.MUL;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * Decodes the scales of a whole tile to float32, so that the kernels behind it need not know how a
 * format stores them: for each stored block and group 32 scales, then 32 minimums. They stay in the
 * first or second cache until the tile is done.
 */
final class VectorScales {
  private VectorScales() {}

  static void decode(QuantizedWeight weight, int tile, float[] scales) {
    int at = weight.scalesAt(tile);
    int blocks = weight.blocks();
    switch (weight.scaleKind) {
      case HALF_PAIR -> halfPairs(weight.words, at, blocks, scales);
      case HALF -> halves(weight.words, at, blocks, -weight.zeroPoint, scales);
      case FLOAT_PAIR -> floatPairs(weight.words, at, blocks, scales);
      case FLOAT_TWO_GROUPS -> floats(weight.words, at, 2 * blocks, -weight.zeroPoint, scales);
    }
  }

  private static void halfPairs(int[] words, int at, int blocks, float[] scales) {
    for (int block = 0; block < blocks; block++) {
      int from = at + block * TILE_ROWS;
      int to = block * DECODED_GROUP;
      for (int v = 0; v < TILE_ROWS; v += LANES) {
        IntVector pair = IntVector.fromArray(INTS, words, from + v);
        Vectors.lowHalves(pair).intoArray(scales, to + v);
        Vectors.highHalves(pair).intoArray(scales, to + TILE_ROWS + v);
      }
    }
  }

  private static void halves(int[] words, int at, int blocks, float factor, float[] scales) {
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    for (int block = 0; block < blocks; block++) {
      int from = at + block * 16;
      int to = block * DECODED_GROUP;
      for (int v = 0; v < 16; v += LANES) {
        IntVector pair = IntVector.fromArray(INTS, words, from + v);
        FloatVector low = Vectors.lowHalves(pair);
        FloatVector high = Vectors.highHalves(pair);
        low.intoArray(scales, to + v);
        high.intoArray(scales, to + 16 + v);
        factors.lanewise(MUL, low).intoArray(scales, to + TILE_ROWS + v);
        factors.lanewise(MUL, high).intoArray(scales, to + TILE_ROWS + 16 + v);
      }
    }
  }

  private static void floatPairs(int[] words, int at, int blocks, float[] scales) {
    int length = blocks * DECODED_GROUP;
    for (int i = 0; i < length; i += LANES) {
      Vectors.floats(IntVector.fromArray(INTS, words, at + i)).intoArray(scales, i);
    }
  }

  private static void floats(int[] words, int at, int groups, float factor, float[] scales) {
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    for (int group = 0; group < groups; group++) {
      int from = at + group * TILE_ROWS;
      int to = group * DECODED_GROUP;
      for (int v = 0; v < TILE_ROWS; v += LANES) {
        FloatVector scale = Vectors.floats(IntVector.fromArray(INTS, words, from + v));
        scale.intoArray(scales, to + v);
        factors.lanewise(MUL, scale).intoArray(scales, to + TILE_ROWS + v);
      }
    }
  }
}
