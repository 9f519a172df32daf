package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.QuantizedWeight.DECODED_GROUP;
import static dev.kvfreeze.device.cpu.TiledWeight.TILE_ROWS;
import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.MUL;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** Turns the integer dot products of blocks into the product of their rows. */
final class VectorRoundedBlocks {
  private VectorRoundedBlocks() {}

  /**
   * {@code out[row] = sum over blocks of scale * (activations' scale * dot) + minimum *
   * activations' sum}, the two parts summed apart, for {@code 2 * LANES} rows.
   *
   * @param weightScales decoded, see {@link VectorScales}
   * @param scalesAt where the rows' first scale lies
   * @param scales of the activations' blocks
   * @param sums of the activations' blocks, for the minimums
   * @param rowAt where both begin
   */
  static void combine(
      int[] dots,
      int dotsAt,
      float[] weightScales,
      int scalesAt,
      float[] scales,
      float[] sums,
      int rowAt,
      int blocks,
      float[] out,
      int outAt) {
    FloatVector product0 = FloatVector.zero(FLOATS);
    FloatVector product1 = FloatVector.zero(FLOATS);
    FloatVector offset0 = FloatVector.zero(FLOATS);
    FloatVector offset1 = FloatVector.zero(FLOATS);
    for (int block = 0; block < blocks; block++) {
      FloatVector scale = FloatVector.broadcast(FLOATS, scales[rowAt + block]);
      FloatVector sum = FloatVector.broadcast(FLOATS, sums[rowAt + block]);
      int s = scalesAt + block * DECODED_GROUP;
      int d = dotsAt + block * TILE_ROWS;
      product0 =
          FloatVector.fromArray(FLOATS, weightScales, s)
              .lanewise(
                  FMA,
                  scale.lanewise(
                      MUL, IntVector.fromArray(INTS, dots, d).convertShape(I2F, FLOATS, 0)),
                  product0);
      product1 =
          FloatVector.fromArray(FLOATS, weightScales, s + LANES)
              .lanewise(
                  FMA,
                  scale.lanewise(
                      MUL, IntVector.fromArray(INTS, dots, d + LANES).convertShape(I2F, FLOATS, 0)),
                  product1);
      offset0 =
          FloatVector.fromArray(FLOATS, weightScales, s + TILE_ROWS).lanewise(FMA, sum, offset0);
      offset1 =
          FloatVector.fromArray(FLOATS, weightScales, s + TILE_ROWS + LANES)
              .lanewise(FMA, sum, offset1);
    }
    product0.lanewise(ADD, offset0).intoArray(out, outAt);
    product1.lanewise(ADD, offset1).intoArray(out, outAt + LANES);
  }
}
