package dev.kvfreeze.device;

import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorData;
import java.util.List;

/**
 * The operations a forward pass needs. All of them are issued by one thread, the engine's, and are
 * complete (or ordered, on an accelerator) when they return. Rows of activations are tokens.
 */
public interface Device extends AutoCloseable {
  DeviceInfo info();

  /**
   * Runs each kernel that the model needs for a moment, at most about a second in all, to see
   * whether it works at full speed; later steps may be watched as well.
   *
   * @param sketchPlanes bits a dimension of the keys' sketches, 0 for none
   */
  default void checkKernels(ModelSpec spec, PageLayout layout, int sketchPlanes) {}

  /**
   * What is known of it; begins with {@code good}, or says what is slow and the remedy. Any thread.
   */
  default String kernelCheck() {
    return "good: nothing to check";
  }

  /**
   * Makes a weight resident. Quantised types stay quantised.
   *
   * @throws IllegalArgumentException naming the tensor, when it holds NaN or infinite scales or
   *     values
   */
  Weight weight(TensorData tensor);

  Activations activations(int rows, int columns);

  /**
   * Memory for pages. On a device with memory of its own, take weights and activations first: it
   * has at most what they leave.
   */
  PageMemory pageMemory(PageLayout layout, long limitBytes);

  /** Bytes of pages where nobody says how many. */
  default long usualPoolBytes() {
    return 1L << 30;
  }

  /** {@code out[r] = scale * table[tokens[offset + r]]} for {@code rows} rows. */
  void embed(Weight table, int[] tokens, int offset, int rows, float scale, Activations out);

  /** {@code out[r] = x[r] / rms(x[r]) * gain}; {@code out} may be {@code x}. */
  void rmsNorm(Activations x, int rows, Weight gain, float epsilon, Activations out);

  /** RMS norm of each head of each row in place; {@code gain} has {@code headSize} columns. */
  void rmsNormHeads(Activations x, int rows, int headSize, Weight gain, float epsilon);

  /**
   * {@code outs[i][r] = weights[i] * x[r]} for {@code rows} rows; several weights that share their
   * input go in one call. {@code outs[i]} has {@code weights[i].rows()} columns.
   */
  void matmul(Activations x, int rows, Weight[] weights, Activations[] outs);

  /**
   * The same for decode steps, a row a sequence: memory sets the speed, and a device may round the
   * activations to 8 bits where that spares work (see its own documentation). A row's result does
   * not depend on the other rows.
   */
  default void decodeMatmul(Activations x, int rows, Weight[] weights, Activations[] outs) {
    matmul(x, rows, weights, outs);
  }

  /** Adds a block's addend to the residual stream and norms the sum. */
  default void addNorm(BlockInput input, int rows) {
    if (input.addend() != null) {
      if (input.addendNorm() != null) {
        rmsNorm(input.addend(), rows, input.addendNorm(), input.epsilon(), input.addend());
      }
      add(input.residual(), input.addend(), rows);
    }
    rmsNorm(input.residual(), rows, input.norm(), input.epsilon(), input.normed());
  }

  /**
   * {@link #addNorm}, then {@link #decodeMatmul} of what it leaves, with the same results; {@link
   * BlockInput#normed} is unspecified afterwards.
   */
  default void decodeNormMatmul(BlockInput input, int rows, Weight[] weights, Activations[] outs) {
    addNorm(input, rows);
    decodeMatmul(input.normed(), rows, weights, outs);
  }

  /**
   * {@link #gate}, then {@link #decodeMatmul} of what it leaves, with the same results; the gate is
   * unspecified afterwards.
   */
  default void decodeGateMatmul(
      GateActivation activation,
      Activations gate,
      Activations up,
      int rows,
      Weight[] weights,
      Activations[] outs) {
    gate(activation, gate, up, rows);
    decodeMatmul(gate, rows, weights, outs);
  }

  /** The product for one row of {@code x} into one row of {@code out}: the logits of one token. */
  void matmulRow(Activations x, int row, Weight weight, Activations out, int outRow);

  /** {@code x[r] += bias}. */
  void addBias(Activations x, int rows, Weight bias);

  /** Rotates each head of row r to {@code positions[r]}, in place. */
  void rope(Activations x, int rows, int headSize, Rope rope, int[] positions);

  /** {@code gate[r] = activation(gate[r]) * up[r]}. */
  void gate(GateActivation activation, Activations gate, Activations up, int rows);

  /** {@code x[r] += y[r]}. */
  void add(Activations x, Activations y, int rows);

  /**
   * Writes the keys and values of the segments' rows into their pages: row r of a segment is the
   * token at {@code firstPosition + r}, found in the page of each head that covers that position.
   */
  void writeKv(
      Activations keys,
      Activations values,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments);

  /**
   * Multiplies every column of {@code x[0 .. rows)} by its factor.
   *
   * @throws UnsupportedOperationException on devices that have no pages of 8 bits
   */
  default void scaleColumns(Activations x, int rows, float[] factors) {
    throw new UnsupportedOperationException("columns are scaled on CPUs only");
  }

  /**
   * {@link #addBias}, {@link #rmsNormHeads}, {@link #scaleColumns} and {@link #rope} as the layer
   * has them, then {@link #writeKv}, with the same results. Queries are finished in place; keys and
   * values are unspecified afterwards.
   */
  default void finishQkv(
      QkvRows qkv,
      QkvFinish finish,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments) {
    finish.inSingleOperations(this, qkv, shape, memory, segments);
  }

  /**
   * Causal attention of the segments' rows over their pages (written by {@link #writeKv} before),
   * merged across runs of pages by running softmax (FlashAttention, arXiv 2205.14135). Fills the
   * pages' attention mass where wanted.
   */
  void attend(
      Activations queries,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments,
      Activations out);

  /** Begins to bring the attention mass of the attentions so far to the host. */
  default void requestMass() {}

  /**
   * Fills in {@link HeadPages#mass} of the attentions so far, waiting for it if need be; a device
   * whose {@link #attend} has filled it does nothing.
   */
  default void awaitMass() {}

  /** Whether sketches may be of some dimensions only, {@link SketchChannels}. */
  default boolean knowsSketchChannels() {
    return false;
  }

  /** Sketches the keys of full pages; a target's first call also finds its centre. */
  void sketchKeys(PageMemory memory, List<SketchedPage> pages);

  /**
   * Estimates from the sketches alone how much attention each row would give to each page, frozen
   * or not, and fills {@link KeySketches#mass}: a softmax over the sketched tokens.
   */
  void scoreSketches(Activations queries, AttentionShape shape, List<SketchSegment> segments);

  /** Statistics of one row of logits. */
  LogitStatistics logitStatistics(Activations logits, int row);

  /** Copies one row to the host. */
  void read(Activations x, int row, float[] values);

  @Override
  void close();
}
