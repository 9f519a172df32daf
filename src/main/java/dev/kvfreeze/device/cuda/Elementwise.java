package dev.kvfreeze.device.cuda;

import static dev.kvfreeze.device.cuda.Kernels.divideUp;

import dev.kvfreeze.device.BlockInput;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Embedding, norms, RoPE and the other operations on single values. */
final class Elementwise {
  private static final int BLOCK = 256;

  /** Values a block of the kernels without rows. */
  private static final int BLOCK_VALUES = 1024;

  /** Columns a block of threads rounds. */
  private static final int ROUNDED_VALUES = 2048;

  /** Rows of the tables of cosines and sines; one for each RoPE of a model. */
  private static final int MOST_ROPES = 4;

  private final GpuWork work;
  private final List<RopeTable> ropes = new ArrayList<>();
  private int[] positions = {};
  private int positionRows;
  private long positionTable;

  /** Cosines and sines of the rows of a pass. */
  static final class RopeTable {
    final Rope rope;
    final long frequencies;
    final long cosines;
    final long sines;
    final int mostRows;
    boolean made;

    RopeTable(Rope rope, long frequencies, long cosines, long sines, int mostRows) {
      this.rope = rope;
      this.frequencies = frequencies;
      this.cosines = cosines;
      this.sines = sines;
      this.mostRows = mostRows;
    }

    int pairs() {
      return rope.inverseFrequencies().length;
    }

    int halfSplit() {
      return rope.pairing() == Rope.Pairing.HALF_SPLIT ? 1 : 0;
    }
  }

  Elementwise(GpuWork work) {
    this.work = work;
  }

  /** Begins a pass: positions are new. */
  void beginPass() {
    positionRows = 0;
    ropes.forEach(table -> table.made = false);
  }

  /** See {@link dev.kvfreeze.device.Device#embed}. */
  void embed(Weight table, int[] tokens, int offset, int rows, float scale, CudaActivations out) {
    CudaWeight weight = CudaWeight.of(table);
    checkLength("the embedding's rows", out.columns(), weight.columns());
    work.tables.prepare(4L * rows, 1);
    PassTables.Table tokenTable = work.tables.ints(rows);
    tokenTable.ints().put(tokens, offset, rows);
    work.launch(
        "embed_rows",
        rows,
        1,
        1,
        BLOCK,
        weight.address(),
        weight.type().ggmlId(),
        weight.columns(),
        tokenTable.address(),
        scale,
        out.address());
    out.written(rows);
  }

  /** See {@link dev.kvfreeze.device.Device#rmsNorm}. */
  void rmsNorm(CudaActivations x, int rows, Weight gain, float epsilon, CudaActivations out) {
    checkLength("the norm's gain", gain.columns(), x.columns());
    work.launch(
        "rms_norm",
        rows,
        1,
        1,
        BLOCK,
        x.address(),
        CudaWeight.of(gain).address(),
        x.columns(),
        epsilon,
        out.address(),
        out.bf16Address());
    out.written(rows);
    out.roundedRows = out.bf16Address() == 0 ? 0 : rows;
  }

  /** See {@link dev.kvfreeze.device.Device#addNorm}; the addend is left as it is. */
  void addNorm(BlockInput input, int rows) {
    CudaActivations x = CudaActivations.of(input.residual());
    CudaActivations out = CudaActivations.of(input.normed());
    if (input.addend() == null) {
      rmsNorm(x, rows, input.norm(), input.epsilon(), out);
      return;
    }
    checkLength("the norm's gain", input.norm().columns(), x.columns());
    work.launch(
        "add_rms_norm",
        rows,
        1,
        1,
        BLOCK,
        x.address(),
        addend(input, x),
        addendGain(input),
        CudaWeight.of(input.norm()).address(),
        x.columns(),
        input.epsilon(),
        out.address(),
        out.bf16Address());
    x.written(rows);
    out.written(rows);
    out.roundedRows = out.bf16Address() == 0 ? 0 : rows;
  }

  /** The same with the sum's norm rounded to 8 bits instead of written. */
  void addNormRounded(BlockInput input, int rows, RoundedRows to) {
    CudaActivations x = CudaActivations.of(input.residual());
    checkLength("the norm's gain", input.norm().columns(), x.columns());
    work.launch(
        "rms_norm_rounded",
        to.paddedRows(),
        1,
        1,
        BLOCK,
        x.address(),
        addend(input, x),
        addendGain(input),
        CudaWeight.of(input.norm()).address(),
        rows,
        x.columns(),
        input.epsilon(),
        to.quants(),
        to.scales());
    x.written(rows);
  }

  private static long addend(BlockInput input, CudaActivations x) {
    if (input.addend() == null) {
      return 0;
    }
    CudaActivations addend = CudaActivations.of(input.addend());
    checkLength("the rows added", addend.columns(), x.columns());
    return addend.address();
  }

  private static long addendGain(BlockInput input) {
    if (input.addend() == null || input.addendNorm() == null) {
      return 0;
    }
    CudaWeight gain = CudaWeight.of(input.addendNorm());
    checkLength("the norm's gain", gain.columns(), input.residual().columns());
    return gain.address();
  }

  /** See {@link dev.kvfreeze.device.Device#rmsNormHeads}. */
  void rmsNormHeads(CudaActivations x, int rows, int headSize, Weight gain, float epsilon) {
    checkLength("the head norm's gain", gain.columns(), headSize);
    int heads = x.columns() / headSize;
    work.launch(
        "rms_norm_heads",
        divideUp(heads, 8),
        rows,
        1,
        BLOCK,
        x.address(),
        CudaWeight.of(gain).address(),
        heads,
        headSize,
        epsilon);
    x.written(rows);
  }

  /** See {@link dev.kvfreeze.device.Device#addBias}. */
  void addBias(CudaActivations x, int rows, Weight bias) {
    checkLength("the bias", bias.columns(), x.columns());
    work.launch(
        "add_bias",
        divideUp(x.columns(), BLOCK),
        rows,
        1,
        BLOCK,
        x.address(),
        CudaWeight.of(bias).address(),
        x.columns());
    x.written(rows);
  }

  /** See {@link dev.kvfreeze.device.Device#add}. */
  void add(CudaActivations x, CudaActivations y, int rows) {
    checkLength("the rows added", y.columns(), x.columns());
    int count = Math.multiplyExact(rows, x.columns());
    work.launch("add", divideUp(count, BLOCK_VALUES), 1, 1, BLOCK, x.address(), y.address(), count);
    x.written(rows);
  }

  /** See {@link dev.kvfreeze.device.Device#gate}. */
  void gate(GateActivation activation, CudaActivations gate, CudaActivations up, int rows) {
    checkLength("the up projection's rows", up.columns(), gate.columns());
    int count = Math.multiplyExact(rows, gate.columns());
    work.launch(
        "gate",
        divideUp(count, BLOCK_VALUES),
        1,
        1,
        BLOCK,
        gate.address(),
        up.address(),
        count,
        activation == GateActivation.SILU ? 0 : 1,
        gate.bf16Address());
    gate.written(rows);
    gate.roundedRows = gate.bf16Address() == 0 ? 0 : rows;
  }

  /** {@link #gate} with the result rounded to 8 bits instead of written. */
  void gateRounded(
      GateActivation activation,
      CudaActivations gate,
      CudaActivations up,
      int rows,
      RoundedRows to) {
    checkLength("the up projection's rows", up.columns(), gate.columns());
    work.launch(
        "gate_rounded",
        divideUp(gate.columns(), ROUNDED_VALUES),
        to.paddedRows(),
        1,
        BLOCK,
        gate.address(),
        up.address(),
        rows,
        gate.columns(),
        activation == GateActivation.SILU ? 0 : 1,
        to.quants(),
        to.scales());
  }

  /** See {@link dev.kvfreeze.device.Device#rope}. */
  void rope(CudaActivations x, int rows, int headSize, Rope rope, int[] wanted) {
    RopeTable table = turns(rope, rows, headSize, x.rows(), wanted);
    int heads = x.columns() / headSize;
    work.launch(
        "rope",
        divideUp(heads, 8),
        rows,
        1,
        BLOCK,
        x.address(),
        table.cosines,
        table.sines,
        heads,
        headSize,
        table.pairs(),
        table.halfSplit());
    x.written(rows);
  }

  /**
   * Cosines and sines of a pass's rows.
   *
   * @param mostRows of any pass
   */
  RopeTable turns(Rope rope, int rows, int headSize, int mostRows, int[] wanted) {
    int pairs = rope.inverseFrequencies().length;
    if (2 * pairs > headSize) {
      throw new IllegalArgumentException(
          "RoPE rotates " + 2 * pairs + " dimensions of heads that have " + headSize);
    }
    RopeTable table = table(rope, mostRows);
    if (positionRows < rows || !Arrays.equals(positions, 0, rows, wanted, 0, rows)) {
      uploadPositions(wanted, rows);
    }
    if (!table.made) {
      work.launch(
          "rope_table",
          divideUp(pairs, BLOCK),
          positionRows,
          1,
          BLOCK,
          positionTable,
          table.frequencies,
          pairs,
          table.cosines,
          table.sines);
      table.made = true;
    }
    return table;
  }

  private void uploadPositions(int[] wanted, int rows) {
    work.tables.prepare(4L * rows, 1);
    PassTables.Table table = work.tables.ints(rows);
    table.ints().put(wanted, 0, rows);
    positionTable = table.address();
    positions = Arrays.copyOf(wanted, rows);
    positionRows = rows;
    ropes.forEach(made -> made.made = false);
  }

  private RopeTable table(Rope rope, int mostRows) {
    for (RopeTable table : ropes) {
      if (table.rope.equals(rope) && table.mostRows >= mostRows) {
        return table;
      }
    }
    if (ropes.size() == MOST_ROPES) {
      throw new IllegalStateException("a model has at most " + MOST_ROPES + " kinds of RoPE");
    }
    ropes.add(newTable(rope, mostRows));
    return ropes.get(ropes.size() - 1);
  }

  /** Takes the memory of a kind of RoPE; before the pool takes the rest. */
  private RopeTable newTable(Rope rope, int mostRows) {
    float[] frequencies = rope.inverseFrequencies();
    long bytes = 4L * frequencies.length;
    long address = work.memory.take("RoPE", bytes);
    PinnedMemory pinned = work.driver.allocatePinned(bytes);
    pinned.view().asFloatBuffer().put(frequencies);
    work.driver.copy(address, pinned.address(), bytes, work.computeStream);
    work.driver.synchronize(work.computeStream);
    work.driver.free(pinned);
    return new RopeTable(
        rope,
        address,
        work.memory.take("RoPE", bytes * mostRows),
        work.memory.take("RoPE", bytes * mostRows),
        mostRows);
  }

  private static void checkLength(String what, int found, int wanted) {
    if (found != wanted) {
      throw new IllegalArgumentException(what + " has " + found + " values, not " + wanted);
    }
  }
}
