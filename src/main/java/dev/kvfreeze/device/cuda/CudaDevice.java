package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.BlockInput;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.device.DeviceLostError;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.QkvFinish;
import dev.kvfreeze.device.QkvRows;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorData;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * An NVIDIA GPU. Operations are held back and given to one stream in order, page moves to another;
 * the host waits only where it needs a result. Takes its memory once, from a stated budget: weights
 * and activations first, so open the page memory after them and it gets the rest.
 *
 * <p>Numbers: prefill multiplies bfloat16 activations, decode steps 8-bit ones (in blocks of 32)
 * where the weight is quantised; sums are float32; keys and values are bfloat16.
 */
public final class CudaDevice implements Device {
  private static final long LEAST_SCRATCH = 8L << 20;
  private static final long MOST_SCRATCH = 256L << 20;

  private final CudaDriver driver;
  private final DeviceInfo info;
  private final GpuWork work;
  private final WeightUploader weights;
  private final Elementwise elementwise;
  private final MatrixProducts products;
  private final PageAttention attention;
  private final AttentionMass mass;
  private final SketchOperations sketches;
  private final LogitRows logits;
  private GpuClaim claim;
  private boolean closed;

  private CudaDevice(
      CudaDriver driver, GpuProperties gpu, DeviceBudget budget, Function<String, byte[]> ptx) {
    this.driver = driver;
    driver.open(gpu.ordinal());
    long bytes = budget.bytesOf(driver.memoryInfo().freeBytes());
    DeviceMemory memory = new DeviceMemory(driver, bytes);
    this.work = new GpuWork(driver, gpu, memory, ptx);
    long scratchBytes = Math.max(LEAST_SCRATCH, Math.min(MOST_SCRATCH, bytes / 64));
    Scratch scratch = new Scratch(memory, scratchBytes);
    this.weights = new WeightUploader(work);
    this.elementwise = new Elementwise(work);
    this.products = new MatrixProducts(work, scratch);
    this.mass = new AttentionMass(work);
    this.attention = new PageAttention(work, scratch, mass);
    this.sketches = new SketchOperations(work, scratch);
    this.logits = new LogitRows(work, scratch);
    this.info =
        new DeviceInfo(
            "cuda: " + gpu.name() + ", " + (gpu.totalBytes() >> 20) + " MiB, GPU-" + gpu.uuid(),
            "cuda-" + gpu.architecture(),
            gpu.multiprocessors());
  }

  /**
   * Opens a GPU for this process alone.
   *
   * @param address an ordinal among the visible GPUs, {@code GPU-...}, {@code MIG-...}, or empty
   *     for the first
   * @throws CudaUnavailableException when there is no driver, no such GPU, or another process has
   *     it
   * @throws OutOfMemoryError when it has less free memory than the budget
   */
  public static CudaDevice open(String address, DeviceBudget budget) {
    CudaDriver driver = JCudaDriver.load();
    GpuProperties gpu = GpuAddress.find(address, driver.gpus());
    GpuClaim claim = GpuClaim.of(address.startsWith("MIG-") ? address : gpu.uuid());
    try {
      CudaDevice device = open(driver, gpu.ordinal(), budget, Kernels::fromJar);
      device.claim = claim;
      return device;
    } catch (RuntimeException | Error e) {
      claim.close();
      throw e;
    }
  }

  static CudaDevice open(
      CudaDriver driver, int ordinal, DeviceBudget budget, Function<String, byte[]> ptx) {
    List<GpuProperties> gpus = driver.gpus();
    if (ordinal < 0 || ordinal >= gpus.size()) {
      throw new CudaUnavailableException(
          "GPU " + ordinal + " is asked for, the driver sees " + gpus.size(), null);
    }
    GpuProperties gpu = gpus.get(ordinal);
    if (gpu.major() < 8) {
      throw new CudaUnavailableException(
          gpu.name()
              + " has compute capability "
              + gpu.major()
              + "."
              + gpu.minor()
              + "; the kernels need 8.0 (Ampere) or newer, use engine.device=cpu",
          null);
    }
    try {
      return new CudaDevice(driver, gpu, budget, ptx);
    } catch (RuntimeException | Error e) {
      // Frees whatever was allocated in it.
      driver.abandon();
      throw e;
    }
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  /** Who holds how many bytes of device memory. */
  public Map<String, Long> memoryHolders() {
    return work.memory.holders();
  }

  /** See {@link CopyBandwidth}. */
  public double copyBandwidth(long bytes) {
    work.bind();
    return CopyBandwidth.measure(work, bytes);
  }

  /** Bytes of the budget that nobody has taken. */
  public long freeBytes() {
    return work.memory.freeBytes();
  }

  /** How many times decode steps were replayed as a graph. */
  long graphReplays() {
    return work.queue.replays();
  }

  @Override
  public Weight weight(TensorData tensor) {
    work.bind();
    return weights.upload(tensor);
  }

  @Override
  public Activations activations(int rows, int columns) {
    work.bind();
    long count = (long) rows * columns;
    if (count > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "activations of "
              + rows
              + " x "
              + columns
              + " are too large; use smaller prefill chunks");
    }
    return new CudaActivations(
        rows,
        columns,
        work.memory.take("activations", 4 * count),
        work.memory.take("activations", 2 * count));
  }

  /** All that weights and activations leave. */
  @Override
  public long usualPoolBytes() {
    return Long.MAX_VALUE;
  }

  @Override
  public PageMemory pageMemory(PageLayout layout, long limitBytes) {
    work.bind();
    sketches.rotation(layout.headSize());
    return new CudaPageMemory(work, layout, limitBytes);
  }

  @Override
  public void embed(
      Weight table, int[] tokens, int offset, int rows, float scale, Activations out) {
    work.bind();
    // A pass begins here: nothing of the one before is held back any more.
    work.tables.begin();
    elementwise.beginPass();
    elementwise.embed(table, tokens, offset, rows, scale, CudaActivations.of(out));
  }

  @Override
  public void rmsNorm(Activations x, int rows, Weight gain, float epsilon, Activations out) {
    elementwise.rmsNorm(CudaActivations.of(x), rows, gain, epsilon, CudaActivations.of(out));
  }

  @Override
  public void rmsNormHeads(Activations x, int rows, int headSize, Weight gain, float epsilon) {
    elementwise.rmsNormHeads(CudaActivations.of(x), rows, headSize, gain, epsilon);
  }

  @Override
  public void matmul(Activations x, int rows, Weight[] weights, Activations[] outs) {
    products.manyRows(CudaActivations.of(x), rows, weights, outs);
  }

  @Override
  public void decodeMatmul(Activations x, int rows, Weight[] weights, Activations[] outs) {
    products.fewRows(CudaActivations.of(x), rows, weights, outs);
  }

  @Override
  public void addNorm(BlockInput input, int rows) {
    elementwise.addNorm(input, rows);
  }

  @Override
  public void decodeNormMatmul(BlockInput input, int rows, Weight[] weights, Activations[] outs) {
    CudaActivations normed = CudaActivations.of(input.normed());
    if (!MatrixProducts.quantized(weights)) {
      elementwise.addNorm(input, rows);
      products.fewRows(normed, rows, weights, outs);
      return;
    }
    RoundedRows rounded = products.room(normed, rows);
    elementwise.addNormRounded(input, rows, rounded);
    products.fewRows(normed, rounded, rows, weights, outs);
  }

  @Override
  public void decodeGateMatmul(
      GateActivation activation,
      Activations gate,
      Activations up,
      int rows,
      Weight[] weights,
      Activations[] outs) {
    CudaActivations gates = CudaActivations.of(gate);
    if (!MatrixProducts.quantized(weights)) {
      elementwise.gate(activation, gates, CudaActivations.of(up), rows);
      products.fewRows(gates, rows, weights, outs);
      return;
    }
    RoundedRows rounded = products.room(gates, rows);
    elementwise.gateRounded(activation, gates, CudaActivations.of(up), rows, rounded);
    products.fewRows(gates, rounded, rows, weights, outs);
  }

  @Override
  public void finishQkv(
      QkvRows qkv,
      QkvFinish finish,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments) {
    Elementwise.RopeTable turns =
        elementwise.turns(
            finish.rope(), qkv.rows(), shape.headSize(), qkv.query().rows(), qkv.positions());
    attention.finish(qkv, finish, turns, shape, CudaPageMemory.of(memory), segments);
  }

  @Override
  public void matmulRow(Activations x, int row, Weight weight, Activations out, int outRow) {
    products.oneRow(CudaActivations.of(x), row, weight, CudaActivations.of(out), outRow);
  }

  @Override
  public void addBias(Activations x, int rows, Weight bias) {
    elementwise.addBias(CudaActivations.of(x), rows, bias);
  }

  @Override
  public void rope(Activations x, int rows, int headSize, Rope rope, int[] positions) {
    elementwise.rope(CudaActivations.of(x), rows, headSize, rope, positions);
  }

  @Override
  public void gate(GateActivation activation, Activations gate, Activations up, int rows) {
    elementwise.gate(activation, CudaActivations.of(gate), CudaActivations.of(up), rows);
  }

  @Override
  public void add(Activations x, Activations y, int rows) {
    elementwise.add(CudaActivations.of(x), CudaActivations.of(y), rows);
  }

  @Override
  public void writeKv(
      Activations keys,
      Activations values,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments) {
    attention.write(
        CudaActivations.of(keys),
        CudaActivations.of(values),
        shape,
        CudaPageMemory.of(memory),
        segments);
  }

  @Override
  public void attend(
      Activations queries,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments,
      Activations out) {
    attention.attend(
        CudaActivations.of(queries),
        shape,
        CudaPageMemory.of(memory),
        segments,
        CudaActivations.of(out));
  }

  @Override
  public void requestMass() {
    mass.request();
  }

  @Override
  public void awaitMass() {
    mass.await();
  }

  @Override
  public boolean knowsSketchChannels() {
    return true;
  }

  @Override
  public void sketchKeys(PageMemory memory, List<SketchedPage> pages) {
    work.bind();
    sketches.sketch(CudaPageMemory.of(memory), pages);
  }

  @Override
  public void scoreSketches(
      Activations queries, AttentionShape shape, List<SketchSegment> segments) {
    sketches.score(CudaActivations.of(queries), shape, segments);
  }

  @Override
  public LogitStatistics logitStatistics(Activations x, int row) {
    work.bind();
    return logits.statistics(CudaActivations.of(x), row);
  }

  @Override
  public void read(Activations x, int row, float[] values) {
    work.bind();
    logits.read(CudaActivations.of(x), row, values);
  }

  /**
   * Gives everything back to the driver.
   *
   * @throws IllegalStateException naming what was not closed before: a leak
   */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    try {
      free();
    } finally {
      if (claim != null) {
        claim.close();
      }
    }
  }

  private void free() {
    try {
      work.bind();
      work.queue.discard();
      driver.synchronize(work.computeStream);
    } catch (DeviceLostError e) {
      // Nothing can be freed one by one any more; the context goes as a whole.
      driver.abandon();
      return;
    }
    weights.close();
    mass.close();
    work.close();
    try {
      work.memory.close();
    } finally {
      driver.close();
    }
  }
}
