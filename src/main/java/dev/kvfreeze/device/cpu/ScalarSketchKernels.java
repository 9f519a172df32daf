package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;

/** {@link SketchKernels} in plain Java. */
final class ScalarSketchKernels implements SketchKernels {
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
    int codes = Integer.SIZE / planes;
    int code = (1 << planes) - 1;
    for (int run = 0; run < 2; run++) {
      int at = run == 0 ? at0 : at1;
      for (int t = 0; t < RUN; t++) {
        float sum = 0;
        for (int d = 0; d < count; d++) {
          int mask = code << d % codes * planes;
          sum += query[queryAt + d] * (bits[at + d / codes * BLOCK + t] & mask);
        }
        products[to + run * RUN + t] = sum;
      }
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
    for (int g = 0; g < TOGETHER; g++) {
      int from = queryAt + g * count;
      products1(bits, at0, at1, count, planes, query, from, products, to + g * stride);
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
    for (int i = 0; i < stride; i++) {
      float a = cosine[at + i];
      float b = sine[at + i];
      float c = cosines[tableAt + i];
      float s = sines[tableAt + i];
      factors[to + i] = a * c + b * s;
      factors[to + stride + i] = b * c - a * s;
    }
  }

  @Override
  public void finish(RunPair runs, int query, float[] scores, int to) {
    for (int run = 0; run < 2; run++) {
      int parabola = (query * 2 + run) * RunPair.TERMS;
      float height = runs.parabolas[parabola];
      float slope = runs.parabolas[parabola + 1];
      float curvature = runs.parabolas[parabola + 2];
      for (int t = 0; t < RUN; t++) {
        float u = RunPair.PLACES[t];
        int i = to + run * RUN + t;
        float step = runs.steps[run * RUN + t];
        float product = scores[i] + runs.offsets[query] - runs.excess[query] * step;
        scores[i] = product * step + height + u * (slope + u * curvature);
      }
    }
  }

  @Override
  public void addWaves1(RunPair runs, int query, float[] scores, int to) {
    for (int run = 0; run < 2; run++) {
      int factor = (query * 2 + run) * 2 * runs.waveStride;
      for (int t = 0; t < RUN; t++) {
        float sum = 0;
        for (int i = 0; i < runs.waves; i++) {
          int quadrature = runs.waveStride + i;
          sum += runs.factors[factor + i] * runs.shapes[i * RUN + t];
          sum += runs.factors[factor + quadrature] * runs.shapes[quadrature * RUN + t];
        }
        scores[to + run * RUN + t] += sum;
      }
    }
  }

  @Override
  public void addWaves3(RunPair runs, int query, float[] scores, int to, int stride) {
    for (int g = 0; g < TOGETHER; g++) {
      addWaves1(runs, query + g, scores, to + g * stride);
    }
  }
}
