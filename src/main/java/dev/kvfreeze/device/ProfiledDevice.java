package dev.kvfreeze.device;

import dev.kvfreeze.device.PartTimes.Part;
import dev.kvfreeze.device.PartTimes.Phase;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorData;
import java.util.List;

/**
 * Another device with the time of each operation, by part of the forward pass. Parts are told by
 * the weights' names; a norm counts to what follows it, an addition to what comes before. Made for
 * devices whose operations are complete when they return.
 */
public final class ProfiledDevice implements Device {
  private final Device device;
  private final double bytesPerSecond;
  private final PartTimes times = new PartTimes();
  private Part current = Part.EMBEDDING;

  /**
   * Takes the device over, and closes it with itself.
   *
   * @param bytesPerSecond what its memory was measured to give
   */
  public ProfiledDevice(Device device, double bytesPerSecond) {
    this.device = device;
    this.bytesPerSecond = bytesPerSecond;
  }

  /** The times so far; the thread that computes. */
  public PartTimes times() {
    return times;
  }

  /** What the memory was measured to give. */
  public double bytesPerSecond() {
    return bytesPerSecond;
  }

  private void time(Part part, Runnable operation) {
    current = part;
    long begin = System.nanoTime();
    operation.run();
    times.add(part, System.nanoTime() - begin);
  }

  private static Part partOf(Weight weight) {
    String name = weight.name();
    if (name.contains("ffn_") || name.contains("post_ffw")) {
      return Part.FEED_FORWARD;
    }
    if (name.contains("attn_output") || name.contains("post_attention")) {
      return Part.OUTPUT;
    }
    return name.startsWith("blk.") ? Part.QKV : Part.LOGITS;
  }

  @Override
  public DeviceInfo info() {
    return device.info();
  }

  @Override
  public void checkKernels(ModelSpec spec, PageLayout layout, int sketchPlanes) {
    device.checkKernels(spec, layout, sketchPlanes);
  }

  @Override
  public String kernelCheck() {
    return device.kernelCheck();
  }

  @Override
  public long usualPoolBytes() {
    return device.usualPoolBytes();
  }

  @Override
  public void requestMass() {
    device.requestMass();
  }

  @Override
  public void awaitMass() {
    device.awaitMass();
  }

  @Override
  public Weight weight(TensorData tensor) {
    return device.weight(tensor);
  }

  @Override
  public Activations activations(int rows, int columns) {
    return device.activations(rows, columns);
  }

  @Override
  public PageMemory pageMemory(PageLayout layout, long limitBytes) {
    return device.pageMemory(layout, limitBytes);
  }

  @Override
  public void embed(
      Weight table, int[] tokens, int offset, int rows, float scale, Activations out) {
    times.begin();
    time(Part.EMBEDDING, () -> device.embed(table, tokens, offset, rows, scale, out));
  }

  @Override
  public void rmsNorm(Activations x, int rows, Weight gain, float epsilon, Activations out) {
    time(partOf(gain), () -> device.rmsNorm(x, rows, gain, epsilon, out));
  }

  @Override
  public void rmsNormHeads(Activations x, int rows, int headSize, Weight gain, float epsilon) {
    time(partOf(gain), () -> device.rmsNormHeads(x, rows, headSize, gain, epsilon));
  }

  @Override
  public void matmul(Activations x, int rows, Weight[] weights, Activations[] outs) {
    times.phase(Phase.PREFILL);
    time(partOf(weights[0]), () -> device.matmul(x, rows, weights, outs));
  }

  @Override
  public void decodeMatmul(Activations x, int rows, Weight[] weights, Activations[] outs) {
    times.phase(Phase.DECODE);
    for (Weight weight : weights) {
      times.read(partOf(weight), weight.residentBytes());
    }
    time(partOf(weights[0]), () -> device.decodeMatmul(x, rows, weights, outs));
  }

  @Override
  public void matmulRow(Activations x, int row, Weight weight, Activations out, int outRow) {
    time(partOf(weight), () -> device.matmulRow(x, row, weight, out, outRow));
  }

  @Override
  public void addBias(Activations x, int rows, Weight bias) {
    time(partOf(bias), () -> device.addBias(x, rows, bias));
  }

  @Override
  public void scaleColumns(Activations x, int rows, float[] factors) {
    time(Part.QKV, () -> device.scaleColumns(x, rows, factors));
  }

  @Override
  public void rope(Activations x, int rows, int headSize, Rope rope, int[] positions) {
    time(Part.QKV, () -> device.rope(x, rows, headSize, rope, positions));
  }

  @Override
  public void gate(GateActivation activation, Activations gate, Activations up, int rows) {
    time(Part.FEED_FORWARD, () -> device.gate(activation, gate, up, rows));
  }

  @Override
  public void add(Activations x, Activations y, int rows) {
    time(current, () -> device.add(x, y, rows));
  }

  @Override
  public void writeKv(
      Activations keys,
      Activations values,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments) {
    time(Part.ATTENTION, () -> device.writeKv(keys, values, shape, memory, segments));
  }

  @Override
  public void attend(
      Activations queries,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments,
      Activations out) {
    for (AttentionSegment segment : segments) {
      for (HeadPages pages : segment.heads()) {
        times.read(Part.ATTENTION, (long) pages.count * memory.layout().pageBytes());
      }
    }
    time(Part.ATTENTION, () -> device.attend(queries, shape, memory, segments, out));
  }

  @Override
  public boolean knowsSketchChannels() {
    return device.knowsSketchChannels();
  }

  @Override
  public void sketchKeys(PageMemory memory, List<SketchedPage> pages) {
    time(Part.SKETCHES, () -> device.sketchKeys(memory, pages));
  }

  @Override
  public void scoreSketches(
      Activations queries, AttentionShape shape, List<SketchSegment> segments) {
    for (SketchSegment segment : segments) {
      for (KeySketches sketches : segment.heads()) {
        long tokens = (long) sketches.pages * sketches.pageTokens();
        times.read(Part.SKETCHES, tokens * sketches.bytesPerToken());
      }
    }
    time(Part.SKETCHES, () -> device.scoreSketches(queries, shape, segments));
  }

  /** Sampling's, and not a part of the pass. */
  @Override
  public LogitStatistics logitStatistics(Activations logits, int row) {
    return device.logitStatistics(logits, row);
  }

  @Override
  public void read(Activations x, int row, float[] values) {
    device.read(x, row, values);
  }

  @Override
  public void close() {
    device.close();
  }
}
