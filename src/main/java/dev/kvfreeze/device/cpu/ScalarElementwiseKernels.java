package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.model.GateActivation;

/** Elementwise arithmetic in plain Java: the fallback, and what the vector twin is tested by. */
final class ScalarElementwiseKernels implements ElementwiseKernels {
  private static final double SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

  @Override
  public void rmsNorm(
      float[] x, int offset, int count, float[] gain, float epsilon, float[] out, int outOffset) {
    double squares = 0;
    for (int i = 0; i < count; i++) {
      squares += (double) x[offset + i] * x[offset + i];
    }
    float factor = (float) (1 / Math.sqrt(squares / count + epsilon));
    for (int i = 0; i < count; i++) {
      out[outOffset + i] = x[offset + i] * factor * gain[i];
    }
  }

  @Override
  public void add(float[] x, int offset, float[] y, int yOffset, int count) {
    for (int i = 0; i < count; i++) {
      x[offset + i] += y[yOffset + i];
    }
  }

  @Override
  public void scale(float[] x, int offset, int count, float factor) {
    for (int i = 0; i < count; i++) {
      x[offset + i] *= factor;
    }
  }

  @Override
  public void gate(
      GateActivation activation, float[] gate, int offset, float[] up, int upOffset, int count) {
    for (int i = 0; i < count; i++) {
      double x = gate[offset + i];
      double z =
          switch (activation) {
            case SILU -> x;
            // 0.5 (1 + tanh u) is the logistic function of 2 u.
            case GELU_TANH -> 2 * SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
          };
      gate[offset + i] = (float) (x / (1 + Math.exp(-z)) * up[upOffset + i]);
    }
  }

  @Override
  public void rotateHalves(
      float[] x, int offset, float[] cosines, float[] sines, int table, int pairs) {
    for (int i = 0; i < pairs; i++) {
      rotate(x, offset + i, offset + i + pairs, cosines[table + i], sines[table + i]);
    }
  }

  @Override
  public void rotateNeighbours(
      float[] x, int offset, float[] cosines, float[] sines, int table, int pairs) {
    for (int i = 0; i < pairs; i++) {
      rotate(x, offset + 2 * i, offset + 2 * i + 1, cosines[table + i], sines[table + i]);
    }
  }

  private static void rotate(float[] x, int first, int second, float cosine, float sine) {
    float a = x[first];
    float b = x[second];
    x[first] = a * cosine - b * sine;
    x[second] = a * sine + b * cosine;
  }

  @Override
  public LogitStatistics logitStatistics(float[] logits, int offset, int count) {
    int argmax = 0;
    for (int i = 1; i < count; i++) {
      if (logits[offset + i] > logits[offset + argmax]) {
        argmax = i;
      }
    }
    float max = logits[offset + argmax];
    double sum = 0;
    double moment = 0;
    for (int i = 0; i < count; i++) {
      double below = (double) max - logits[offset + i];
      double e = Math.exp(-below);
      sum += e;
      moment += e == 0 ? 0 : below * e;
    }
    double log = Math.log(sum);
    return new LogitStatistics(argmax, max, (float) (max + log), (float) (log + moment / sum));
  }
}
