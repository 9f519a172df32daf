package dev.kvfreeze.device.cpu;

import static dev.kvfreeze.device.cpu.VectorMath.FLOATS;
import static dev.kvfreeze.device.cpu.VectorMath.LANES;
import static jdk.incubator.vector.VectorOperators.ADD;
import static jdk.incubator.vector.VectorOperators.FMA;
import static jdk.incubator.vector.VectorOperators.MAX;
import static jdk.incubator.vector.VectorOperators.MUL;
import static jdk.incubator.vector.VectorOperators.SUB;

import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.model.GateActivation;
import jdk.incubator.vector.FloatVector;

/** Elementwise arithmetic by vector; the last values of a row one by one. */
final class VectorElementwiseKernels implements ElementwiseKernels {

  /** Logits summed in float32 before the sum goes on in float64. */
  private static final int LOGIT_RUN = 4096;

  private final ElementwiseKernels scalar = new ScalarElementwiseKernels();
  private final boolean natively;

  /** With vectors alone, nothing in native code. */
  VectorElementwiseKernels() {
    this(NativeLevel.NONE);
  }

  VectorElementwiseKernels(NativeLevel level) {
    this.natively = level != NativeLevel.NONE;
  }

  @Override
  public void rmsNorm(
      float[] x, int offset, int count, float[] gain, float epsilon, float[] out, int outOffset) {
    float factor = (float) (1 / Math.sqrt(squares(x, offset, count) / count + epsilon));
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    int i = 0;
    for (; i <= count - LANES; i += LANES) {
      FloatVector.fromArray(FLOATS, x, offset + i)
          .lanewise(MUL, factors)
          .lanewise(MUL, FloatVector.fromArray(FLOATS, gain, i))
          .intoArray(out, outOffset + i);
    }
    for (; i < count; i++) {
      out[outOffset + i] = x[offset + i] * factor * gain[i];
    }
  }

  private static double squares(float[] x, int offset, int count) {
    FloatVector zero = FloatVector.zero(FLOATS);
    FloatVector s0 = zero;
    FloatVector s1 = zero;
    int i = 0;
    for (; i <= count - 2 * LANES; i += 2 * LANES) {
      FloatVector x0 = FloatVector.fromArray(FLOATS, x, offset + i);
      FloatVector x1 = FloatVector.fromArray(FLOATS, x, offset + i + LANES);
      s0 = x0.lanewise(FMA, x0, s0);
      s1 = x1.lanewise(FMA, x1, s1);
    }
    double sum = zero.lanewise(ADD, s0).lanewise(ADD, s1).reduceLanes(ADD);
    for (; i < count; i++) {
      sum += (double) x[offset + i] * x[offset + i];
    }
    return sum;
  }

  @Override
  public void add(float[] x, int offset, float[] y, int yOffset, int count) {
    int i = 0;
    for (; i <= count - LANES; i += LANES) {
      FloatVector.fromArray(FLOATS, x, offset + i)
          .lanewise(ADD, FloatVector.fromArray(FLOATS, y, yOffset + i))
          .intoArray(x, offset + i);
    }
    for (; i < count; i++) {
      x[offset + i] += y[yOffset + i];
    }
  }

  @Override
  public void scale(float[] x, int offset, int count, float factor) {
    FloatVector factors = FloatVector.broadcast(FLOATS, factor);
    int i = 0;
    for (; i <= count - LANES; i += LANES) {
      FloatVector.fromArray(FLOATS, x, offset + i).lanewise(MUL, factors).intoArray(x, offset + i);
    }
    for (; i < count; i++) {
      x[offset + i] *= factor;
    }
  }

  @Override
  public void gate(
      GateActivation activation, float[] gate, int offset, float[] up, int upOffset, int count) {
    int whole = count - count % LANES;
    switch (activation) {
      case SILU -> VectorGates.silu(gate, offset, up, upOffset, whole);
      case GELU_TANH -> VectorGates.gelu(gate, offset, up, upOffset, whole);
    }
    scalar.gate(activation, gate, offset + whole, up, upOffset + whole, count - whole);
  }

  @Override
  public void rotateHalves(
      float[] x, int offset, float[] cosines, float[] sines, int table, int pairs) {
    int i = 0;
    for (; i <= pairs - LANES; i += LANES) {
      FloatVector a = FloatVector.fromArray(FLOATS, x, offset + i);
      FloatVector b = FloatVector.fromArray(FLOATS, x, offset + pairs + i);
      FloatVector cosine = FloatVector.fromArray(FLOATS, cosines, table + i);
      FloatVector sine = FloatVector.fromArray(FLOATS, sines, table + i);
      a.lanewise(MUL, cosine).lanewise(SUB, b.lanewise(MUL, sine)).intoArray(x, offset + i);
      a.lanewise(MUL, sine).lanewise(ADD, b.lanewise(MUL, cosine)).intoArray(x, offset + pairs + i);
    }
    for (; i < pairs; i++) {
      float a = x[offset + i];
      float b = x[offset + pairs + i];
      x[offset + i] = a * cosines[table + i] - b * sines[table + i];
      x[offset + pairs + i] = a * sines[table + i] + b * cosines[table + i];
    }
  }

  @Override
  public void rotateNeighbours(
      float[] x, int offset, float[] cosines, float[] sines, int table, int pairs) {
    // A register would have to be shuffled, and shuffles are what C2 most often leaves boxed.
    scalar.rotateNeighbours(x, offset, cosines, sines, table, pairs);
  }

  @Override
  public LogitStatistics logitStatistics(float[] logits, int offset, int count) {
    if (count < LOGIT_RUN) {
      return scalar.logitStatistics(logits, offset, count);
    }
    int best = offset;
    float max = Float.NEGATIVE_INFINITY;
    for (int run = offset; run < offset + count; run += LOGIT_RUN) {
      int length = Math.min(LOGIT_RUN, offset + count - run);
      float top =
          natively ? NativeNorms.maximum(logits, run, length) : maximum(logits, run, length);
      if (top > max || Float.isNaN(top)) {
        max = top;
        best = run;
      }
    }
    if (Float.isNaN(max) || Float.isInfinite(max)) {
      return scalar.logitStatistics(logits, offset, count);
    }
    while (logits[best] != max) {
      best++;
    }
    double sum = 0;
    double moment = 0;
    float[] sums = new float[2];
    for (int run = offset; run < offset + count; run += LOGIT_RUN) {
      addRun(logits, run, Math.min(LOGIT_RUN, offset + count - run), max, sums);
      sum += sums[0];
      moment += sums[1];
    }
    double log = Math.log(sum);
    return new LogitStatistics(
        best - offset, max, (float) (max + log), (float) (log + moment / sum));
  }

  private static float maximum(float[] x, int offset, int count) {
    FloatVector least = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
    FloatVector m0 = least;
    FloatVector m1 = least;
    int i = 0;
    for (; i <= count - 2 * LANES; i += 2 * LANES) {
      m0 = FloatVector.fromArray(FLOATS, x, offset + i).lanewise(MAX, m0);
      m1 = FloatVector.fromArray(FLOATS, x, offset + i + LANES).lanewise(MAX, m1);
    }
    float max = least.lanewise(MAX, m0).lanewise(MAX, m1).reduceLanes(MAX);
    for (; i < count; i++) {
      max = Math.max(max, x[offset + i]);
    }
    return max;
  }

  /**
   * {@code sums[0]} becomes the sum of exp(x - max), {@code sums[1]} that of (max - x) times it.
   */
  private void addRun(float[] x, int offset, int count, float max, float[] sums) {
    if (natively) {
      NativeNorms.moments(x, offset, count, max, sums);
      return;
    }
    int whole = count - count % LANES;
    VectorExponentials.moments(x, offset, whole, max, sums);
    for (int i = whole; i < count; i++) {
      float below = max - x[offset + i];
      float e = VectorMath.expNegative(below);
      sums[0] += e;
      sums[1] += e * VectorMath.held(below);
    }
  }
}
