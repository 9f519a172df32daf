package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.model.GateActivation;

/** The arithmetic of a forward pass outside products and attention: one row, one thread. */
interface ElementwiseKernels {
  /** {@code out = x / rms(x) * gain} over {@code count} values; {@code out} may be {@code x}. */
  void rmsNorm(
      float[] x, int offset, int count, float[] gain, float epsilon, float[] out, int outOffset);

  /** {@code x += y}. */
  void add(float[] x, int offset, float[] y, int yOffset, int count);

  /** {@code x *= factor}. */
  void scale(float[] x, int offset, int count, float factor);

  /** {@code gate = activation(gate) * up}. */
  void gate(
      GateActivation activation, float[] gate, int offset, float[] up, int upOffset, int count);

  /** Rotates the pairs {@code (i, i + pairs)} by angles given as cosines and sines. */
  void rotateHalves(float[] x, int offset, float[] cosines, float[] sines, int table, int pairs);

  /** Rotates the pairs {@code (2i, 2i + 1)}. */
  void rotateNeighbours(
      float[] x, int offset, float[] cosines, float[] sines, int table, int pairs);

  /** See {@link LogitStatistics}. Logits of -infinity have no probability; NaN gives NaN. */
  LogitStatistics logitStatistics(float[] logits, int offset, int count);
}
