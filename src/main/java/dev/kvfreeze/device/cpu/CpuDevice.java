package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.BlockInput;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.DeviceInfo;
import dev.kvfreeze.device.KvFormat;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorData;
import java.util.List;

/**
 * The CPU: kernels of the chosen {@link KernelProvider} on a pool of threads. Everything lies on
 * the heap, since the Vector API reads plain arrays alike on every Java from 17 on.
 */
public final class CpuDevice implements Device {
  private static final System.Logger LOGGER = System.getLogger(CpuDevice.class.getName());

  private final DeviceInfo info;
  private final WorkerPool pool;
  private final WeightPacker packer;
  private final MatrixProducts products;
  private final PagedAttention attention;
  private final ElementwiseOperations elementwise;
  private final SketchMaker sketchMaker;
  private final SketchScores sketchScores;
  private final Precision precision;
  private final KernelWatch watch;

  private CpuDevice(
      KernelProvider provider, int threads, Precision precision, KeptChecks keptChecks) {
    this.precision = precision;
    this.pool = new WorkerPool(threads);
    this.packer = new WeightPacker(pool);
    this.watch = new KernelWatch(provider, pool, keptChecks);
    this.products = new MatrixProducts(pool, provider.matmul(), provider.nativeLevel());
    this.attention = new PagedAttention(pool, provider.attention(), attentionLevel(provider));
    this.elementwise =
        new ElementwiseOperations(pool, provider.elementwise(), provider.nativeLevel());
    this.sketchMaker = new SketchMaker(pool, provider.attention(), provider.nativeLevel());
    this.sketchScores =
        new SketchScores(pool, provider.attention(), provider.sketches(), provider.nativeLevel());
    this.info =
        new DeviceInfo(
            "cpu: " + ProcessorName.read() + ", " + threads + " threads", provider.name(), threads);
  }

  /** The highest levels' attention rounds queries, keys and probabilities. */
  private NativeLevel attentionLevel(KernelProvider provider) {
    NativeLevel level = provider.nativeLevel();
    return precision == Precision.FLOAT32 ? level.inFloat32() : level;
  }

  /** A device of so many threads with the provider that {@link KernelProvider#choose()} picks. */
  public static CpuDevice open(int threads) {
    return open(threads, Precision.ROUNDED);
  }

  /** The same with a choice of what is rounded. */
  public static CpuDevice open(int threads, Precision precision) {
    return open(threads, precision, KernelCheck.FRESH);
  }

  /** The same with a choice of when its kernels are checked. */
  public static CpuDevice open(int threads, Precision precision, KernelCheck kernelCheck) {
    KernelProvider provider = KernelProvider.choose();
    KeptChecks kept =
        kernelCheck == KernelCheck.KEPT ? KeptChecks.ofThisProcess(provider).orElse(null) : null;
    return new CpuDevice(provider, threads, precision, kept);
  }

  static CpuDevice open(KernelProvider provider, int threads) {
    return new CpuDevice(provider, threads, Precision.ROUNDED, null);
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public void checkKernels(ModelSpec spec, PageLayout layout, int sketchPlanes) {
    watch.start(spec, layout, sketchPlanes);
  }

  @Override
  public String kernelCheck() {
    return watch.verdict();
  }

  @Override
  public Weight weight(TensorData tensor) {
    if (tensor.rows() > 1) {
      watch.uses(tensor.type());
    }
    return packer.pack(tensor);
  }

  @Override
  public Activations activations(int rows, int columns) {
    return CpuActivations.allocate(rows, columns);
  }

  @Override
  public PageMemory pageMemory(PageLayout layout, long limitBytes) {
    if (layout.format() == KvFormat.INT8 && !attention.knowsNatively(layout)) {
      LOGGER.log(
          System.Logger.Level.WARNING,
          "cache.format=int8 has no fast kernels here ("
              + info.provider()
              + ", heads of "
              + layout.headSize()
              + "): attention will be many times slower than with cache.format=bf16");
    }
    return new CpuPageMemory(layout, limitBytes, pool);
  }

  @Override
  public void embed(
      Weight table, int[] tokens, int offset, int rows, float scale, Activations out) {
    elementwise.embed((TiledWeight) table, tokens, offset, rows, scale, CpuActivations.of(out));
  }

  @Override
  public void rmsNorm(Activations x, int rows, Weight gain, float epsilon, Activations out) {
    elementwise.rmsNorm(CpuActivations.of(x), rows, vector(gain), epsilon, CpuActivations.of(out));
  }

  @Override
  public void addNorm(BlockInput input, int rows) {
    if (input.addend() == null) {
      rmsNorm(input.residual(), rows, input.norm(), input.epsilon(), input.normed());
      return;
    }
    elementwise.addNorm(
        CpuActivations.of(input.residual()),
        CpuActivations.of(input.addend()),
        input.addendNorm() == null ? null : vector(input.addendNorm()),
        rows,
        vector(input.norm()),
        input.epsilon(),
        CpuActivations.of(input.normed()));
  }

  @Override
  public void rmsNormHeads(Activations x, int rows, int headSize, Weight gain, float epsilon) {
    elementwise.rmsNormHeads(CpuActivations.of(x), rows, headSize, vector(gain), epsilon);
  }

  @Override
  public void scaleColumns(Activations x, int rows, float[] factors) {
    elementwise.scaleColumns(CpuActivations.of(x), rows, factors);
  }

  @Override
  public void matmul(Activations x, int rows, Weight[] weights, Activations[] outs) {
    watch.prefillProduct();
    products.begin(CpuActivations.of(x), 0, rows, 0);
    roundToSixteenBits();
    for (int i = 0; i < weights.length; i++) {
      products.add((TiledWeight) weights[i], CpuActivations.of(outs[i]));
    }
    products.run();
  }

  private void roundToSixteenBits() {
    if (precision == Precision.ROUNDED) {
      products.roundToSixteenBits();
    }
  }

  @Override
  public void decodeMatmul(Activations x, int rows, Weight[] weights, Activations[] outs) {
    products.begin(CpuActivations.of(x), 0, rows, 0);
    if (precision == Precision.ROUNDED) {
      products.roundActivations();
    }
    for (int i = 0; i < weights.length; i++) {
      products.add((TiledWeight) weights[i], CpuActivations.of(outs[i]));
    }
    products.run();
    watch.decodeProduct();
  }

  @Override
  public void matmulRow(Activations x, int row, Weight weight, Activations out, int outRow) {
    products.begin(CpuActivations.of(x), row, 1, outRow);
    roundToSixteenBits();
    products.add((TiledWeight) weight, CpuActivations.of(out));
    products.run();
  }

  @Override
  public void addBias(Activations x, int rows, Weight bias) {
    elementwise.addBias(CpuActivations.of(x), rows, vector(bias));
  }

  @Override
  public void rope(Activations x, int rows, int headSize, Rope rope, int[] positions) {
    elementwise.rope(CpuActivations.of(x), rows, headSize, rope, positions);
  }

  @Override
  public void gate(GateActivation activation, Activations gate, Activations up, int rows) {
    elementwise.gate(activation, CpuActivations.of(gate), CpuActivations.of(up), rows);
  }

  @Override
  public void add(Activations x, Activations y, int rows) {
    elementwise.add(CpuActivations.of(x), CpuActivations.of(y), rows);
  }

  @Override
  public void writeKv(
      Activations keys,
      Activations values,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments) {
    attention.writeKv(
        CpuActivations.of(keys),
        CpuActivations.of(values),
        shape,
        (CpuPageMemory) memory,
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
        CpuActivations.of(queries),
        shape,
        (CpuPageMemory) memory,
        segments,
        CpuActivations.of(out));
  }

  @Override
  public boolean knowsSketchChannels() {
    return true;
  }

  @Override
  public void sketchKeys(PageMemory memory, List<SketchedPage> pages) {
    sketchMaker.sketch((CpuPageMemory) memory, pages);
  }

  @Override
  public void scoreSketches(
      Activations queries, AttentionShape shape, List<SketchSegment> segments) {
    sketchScores.score(CpuActivations.of(queries), shape, segments);
  }

  @Override
  public LogitStatistics logitStatistics(Activations logits, int row) {
    return elementwise.logitStatistics(CpuActivations.of(logits), row);
  }

  @Override
  public void read(Activations x, int row, float[] values) {
    CpuActivations source = CpuActivations.of(x);
    System.arraycopy(source.values(), row * source.columns(), values, 0, source.columns());
  }

  private static float[] vector(Weight weight) {
    return ((VectorWeight) weight).values();
  }

  @Override
  public void close() {
    pool.close();
  }
}
