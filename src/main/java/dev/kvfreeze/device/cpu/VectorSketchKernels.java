package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.I2F;

import dev.kvfreeze.device.KeySketches;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/**
 * {@link SketchKernels} with vectors: a mask takes a code out in its place, a conversion makes it a
 * number times a power of two, which the query was divided by. So a dimension costs two
 * instructions for all queries and one for each, and no bits are counted or shifted.
 */
final class VectorSketchKernels implements SketchKernels {
  private static final int BLOCK = KeySketches.BLOCK_TOKENS;

  @Override
  public void products1(
      int[] bits,
      int at,
      int headSize,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to) {
    int code = (1 << planes) - 1;
    for (int t = 0; t < BLOCK; t += 2 * LANES) {
      FloatVector sum0 = FloatVector.zero(FLOATS);
      FloatVector sum1 = FloatVector.zero(FLOATS);
      int place = 0;
      int word = at + t;
      for (int d = 0; d < headSize; d++) {
        IntVector mask = IntVector.broadcast(INTS, code << place);
        FloatVector factor = FloatVector.broadcast(FLOATS, query[queryAt + d]);
        sum0 =
            factor.lanewise(
                FMA,
                IntVector.fromArray(INTS, bits, word)
                    .lanewise(AND, mask)
                    .convertShape(I2F, FLOATS, 0),
                sum0);
        sum1 =
            factor.lanewise(
                FMA,
                IntVector.fromArray(INTS, bits, word + LANES)
                    .lanewise(AND, mask)
                    .convertShape(I2F, FLOATS, 0),
                sum1);
        place += planes;
        if (place == Integer.SIZE) {
          place = 0;
          word += BLOCK;
        }
      }
      sum0.intoArray(products, to + t);
      sum1.intoArray(products, to + t + LANES);
    }
  }

  @Override
  public void products3(
      int[] bits,
      int at,
      int headSize,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to,
      int stride) {
    int code = (1 << planes) - 1;
    for (int t = 0; t < BLOCK; t += 2 * LANES) {
      FloatVector a0 = FloatVector.zero(FLOATS);
      FloatVector a1 = FloatVector.zero(FLOATS);
      FloatVector b0 = FloatVector.zero(FLOATS);
      FloatVector b1 = FloatVector.zero(FLOATS);
      FloatVector c0 = FloatVector.zero(FLOATS);
      FloatVector c1 = FloatVector.zero(FLOATS);
      int place = 0;
      int word = at + t;
      for (int d = 0; d < headSize; d++) {
        IntVector mask = IntVector.broadcast(INTS, code << place);
        var key0 =
            IntVector.fromArray(INTS, bits, word).lanewise(AND, mask).convertShape(I2F, FLOATS, 0);
        var key1 =
            IntVector.fromArray(INTS, bits, word + LANES)
                .lanewise(AND, mask)
                .convertShape(I2F, FLOATS, 0);
        int q = queryAt + d;
        FloatVector a = FloatVector.broadcast(FLOATS, query[q]);
        FloatVector b = FloatVector.broadcast(FLOATS, query[q + headSize]);
        FloatVector c = FloatVector.broadcast(FLOATS, query[q + 2 * headSize]);
        a0 = a.lanewise(FMA, key0, a0);
        a1 = a.lanewise(FMA, key1, a1);
        b0 = b.lanewise(FMA, key0, b0);
        b1 = b.lanewise(FMA, key1, b1);
        c0 = c.lanewise(FMA, key0, c0);
        c1 = c.lanewise(FMA, key1, c1);
        place += planes;
        if (place == Integer.SIZE) {
          place = 0;
          word += BLOCK;
        }
      }
      a0.intoArray(products, to + t);
      a1.intoArray(products, to + t + LANES);
      b0.intoArray(products, to + stride + t);
      b1.intoArray(products, to + stride + t + LANES);
      c0.intoArray(products, to + 2 * stride + t);
      c1.intoArray(products, to + 2 * stride + t + LANES);
    }
  }
}
