package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.Vectors.FLOATS;
import static dev.kvfreeze.device.cpu.Vectors.INTS;
import static dev.kvfreeze.device.cpu.Vectors.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.AND;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.SUB;

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
      int at0,
      int at1,
      int count,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to) {
    int code = (1 << planes) - 1;
    for (int t = 0; t < RUN; t += LANES) {
      FloatVector sum0 = FloatVector.zero(FLOATS);
      FloatVector sum1 = FloatVector.zero(FLOATS);
      int place = 0;
      int word = t;
      for (int d = 0; d < count; d++) {
        IntVector mask = IntVector.broadcast(INTS, code << place);
        FloatVector factor = FloatVector.broadcast(FLOATS, query[queryAt + d]);
        sum0 =
            factor.lanewise(
                FMA,
                IntVector.fromArray(INTS, bits, at0 + word)
                    .lanewise(AND, mask)
                    .convertShape(I2F, FLOATS, 0),
                sum0);
        sum1 =
            factor.lanewise(
                FMA,
                IntVector.fromArray(INTS, bits, at1 + word)
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
      sum1.intoArray(products, to + RUN + t);
    }
  }

  @Override
  public void products3(
      int[] bits,
      int at0,
      int at1,
      int count,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to,
      int stride) {
    int code = (1 << planes) - 1;
    for (int t = 0; t < RUN; t += LANES) {
      FloatVector a0 = FloatVector.zero(FLOATS);
      FloatVector a1 = FloatVector.zero(FLOATS);
      FloatVector b0 = FloatVector.zero(FLOATS);
      FloatVector b1 = FloatVector.zero(FLOATS);
      FloatVector c0 = FloatVector.zero(FLOATS);
      FloatVector c1 = FloatVector.zero(FLOATS);
      int place = 0;
      int word = t;
      for (int d = 0; d < count; d++) {
        IntVector mask = IntVector.broadcast(INTS, code << place);
        var key0 =
            IntVector.fromArray(INTS, bits, at0 + word)
                .lanewise(AND, mask)
                .convertShape(I2F, FLOATS, 0);
        var key1 =
            IntVector.fromArray(INTS, bits, at1 + word)
                .lanewise(AND, mask)
                .convertShape(I2F, FLOATS, 0);
        int q = queryAt + d;
        FloatVector a = FloatVector.broadcast(FLOATS, query[q]);
        FloatVector b = FloatVector.broadcast(FLOATS, query[q + count]);
        FloatVector c = FloatVector.broadcast(FLOATS, query[q + 2 * count]);
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
      a1.intoArray(products, to + RUN + t);
      b0.intoArray(products, to + stride + t);
      b1.intoArray(products, to + stride + RUN + t);
      c0.intoArray(products, to + 2 * stride + t);
      c1.intoArray(products, to + 2 * stride + RUN + t);
    }
  }

  @Override
  public void turn(
      float[] cosine,
      float[] sine,
      int at,
      float[] cosines,
      float[] sines,
      int tableAt,
      int stride,
      float[] factors,
      int to) {
    for (int i = 0; i < stride; i += LANES) {
      FloatVector a = FloatVector.fromArray(FLOATS, cosine, at + i);
      FloatVector b = FloatVector.fromArray(FLOATS, sine, at + i);
      FloatVector c = FloatVector.fromArray(FLOATS, cosines, tableAt + i);
      FloatVector s = FloatVector.fromArray(FLOATS, sines, tableAt + i);
      a.lanewise(MUL, c).lanewise(ADD, b.lanewise(MUL, s)).intoArray(factors, to + i);
      b.lanewise(MUL, c).lanewise(SUB, a.lanewise(MUL, s)).intoArray(factors, to + stride + i);
    }
  }

  @Override
  public void finish(RunPair runs, int query, float[] scores, int to) {
    float[] parabolas = runs.parabolas;
    float[] steps = runs.steps;
    FloatVector excess = FloatVector.broadcast(FLOATS, -runs.excess[query]);
    FloatVector offset = FloatVector.broadcast(FLOATS, runs.offsets[query]);
    int first = query * 2 * RunPair.TERMS;
    int second = first + RunPair.TERMS;
    for (int t = 0; t < RUN; t += LANES) {
      FloatVector u = FloatVector.fromArray(FLOATS, RunPair.PLACES, t);
      FloatVector sum0 = FloatVector.broadcast(FLOATS, parabolas[first + 2]);
      FloatVector sum1 = FloatVector.broadcast(FLOATS, parabolas[second + 2]);
      sum0 = u.lanewise(FMA, sum0, FloatVector.broadcast(FLOATS, parabolas[first + 1]));
      sum1 = u.lanewise(FMA, sum1, FloatVector.broadcast(FLOATS, parabolas[second + 1]));
      sum0 = u.lanewise(FMA, sum0, FloatVector.broadcast(FLOATS, parabolas[first]));
      sum1 = u.lanewise(FMA, sum1, FloatVector.broadcast(FLOATS, parabolas[second]));
      FloatVector step0 = FloatVector.fromArray(FLOATS, steps, t);
      FloatVector step1 = FloatVector.fromArray(FLOATS, steps, RUN + t);
      FloatVector product0 = FloatVector.fromArray(FLOATS, scores, to + t).lanewise(ADD, offset);
      FloatVector product1 =
          FloatVector.fromArray(FLOATS, scores, to + RUN + t).lanewise(ADD, offset);
      product0 = excess.lanewise(FMA, step0, product0);
      product1 = excess.lanewise(FMA, step1, product1);
      step0.lanewise(FMA, product0, sum0).intoArray(scores, to + t);
      step1.lanewise(FMA, product1, sum1).intoArray(scores, to + RUN + t);
    }
  }

  @Override
  public void addWaves1(RunPair runs, int query, float[] scores, int to) {
    float[] factors = runs.factors;
    float[] shapes = runs.shapes;
    int waves = runs.waves;
    int stride = runs.waveStride;
    int first = query * 4 * stride;
    int second = first + 2 * stride;
    for (int t = 0; t < RUN; t += LANES) {
      FloatVector sum0 = FloatVector.fromArray(FLOATS, scores, to + t);
      FloatVector sum1 = FloatVector.fromArray(FLOATS, scores, to + RUN + t);
      for (int i = 0; i < waves; i++) {
        FloatVector cosine = FloatVector.fromArray(FLOATS, shapes, i * RUN + t);
        FloatVector sine = FloatVector.fromArray(FLOATS, shapes, (stride + i) * RUN + t);
        sum0 = cosine.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[first + i]), sum0);
        sum1 = cosine.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[second + i]), sum1);
        sum0 = sine.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[first + stride + i]), sum0);
        sum1 =
            sine.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[second + stride + i]), sum1);
      }
      sum0.intoArray(scores, to + t);
      sum1.intoArray(scores, to + RUN + t);
    }
  }

  @Override
  public void addWaves3(RunPair runs, int query, float[] scores, int to, int stride) {
    float[] factors = runs.factors;
    float[] shapes = runs.shapes;
    int waves = runs.waves;
    int quadrature = runs.waveStride;
    int first = query * 4 * quadrature;
    int second = first + 2 * quadrature;
    int next = 4 * quadrature;
    for (int t = 0; t < RUN; t += LANES) {
      int from = to + t;
      FloatVector a0 = FloatVector.fromArray(FLOATS, scores, from);
      FloatVector a1 = FloatVector.fromArray(FLOATS, scores, from + RUN);
      FloatVector b0 = FloatVector.fromArray(FLOATS, scores, from + stride);
      FloatVector b1 = FloatVector.fromArray(FLOATS, scores, from + stride + RUN);
      FloatVector c0 = FloatVector.fromArray(FLOATS, scores, from + 2 * stride);
      FloatVector c1 = FloatVector.fromArray(FLOATS, scores, from + 2 * stride + RUN);
      for (int i = 0; i < waves; i++) {
        FloatVector wave = FloatVector.fromArray(FLOATS, shapes, i * RUN + t);
        int f0 = first + i;
        int f1 = second + i;
        a0 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f0]), a0);
        a1 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f1]), a1);
        b0 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f0 + next]), b0);
        b1 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f1 + next]), b1);
        c0 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f0 + 2 * next]), c0);
        c1 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f1 + 2 * next]), c1);
        wave = FloatVector.fromArray(FLOATS, shapes, (quadrature + i) * RUN + t);
        f0 += quadrature;
        f1 += quadrature;
        a0 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f0]), a0);
        a1 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f1]), a1);
        b0 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f0 + next]), b0);
        b1 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f1 + next]), b1);
        c0 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f0 + 2 * next]), c0);
        c1 = wave.lanewise(FMA, FloatVector.broadcast(FLOATS, factors[f1 + 2 * next]), c1);
      }
      a0.intoArray(scores, from);
      a1.intoArray(scores, from + RUN);
      b0.intoArray(scores, from + stride);
      b1.intoArray(scores, from + stride + RUN);
      c0.intoArray(scores, from + 2 * stride);
      c1.intoArray(scores, from + 2 * stride + RUN);
    }
  }
}
