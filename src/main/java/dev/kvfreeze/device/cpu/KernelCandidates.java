package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.HeadPages;
import dev.kvfreeze.device.KeySketches;
import dev.kvfreeze.device.PageLayout;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.tensor.TensorType;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.function.Consumer;

/**
 * The operations whose kernels a model will use, small, on one thread: with the model's tensor
 * types, head size and page layout, in decode and in prefill.
 */
final class KernelCandidates implements AutoCloseable {
  private static final int COLUMNS = 512;
  private static final int PREFILL_ROWS = 16;
  private static final int TOKENS = 256;

  private final CpuDevice vector;
  private final CpuDevice scalar;
  private final List<KernelSelfCheck.Candidate> candidates = new ArrayList<>();

  KernelCandidates(KernelProvider provider) {
    vector = CpuDevice.open(provider, 1);
    scalar = CpuDevice.open(KernelProvider.scalar(), 1);
  }

  List<KernelSelfCheck.Candidate> all() {
    return List.copyOf(candidates);
  }

  private void add(String name, Consumer<CpuDevice> operation) {
    candidates.add(
        new KernelSelfCheck.Candidate(
            name, call -> operation.accept(vector), call -> operation.accept(scalar)));
  }

  /** Products with matrices of these types, a row and many rows. */
  KernelCandidates products(Collection<TensorType> types) {
    for (TensorType type : types) {
      Weight[] weight = {WeightPacker.empty("self-check", type, TiledWeight.TILE_ROWS, COLUMNS)};
      Activations x = vector.activations(PREFILL_ROWS, COLUMNS);
      Activations[] out = {vector.activations(PREFILL_ROWS, TiledWeight.TILE_ROWS)};
      add(type + " decode product", device -> device.decodeMatmul(x, 1, weight, out));
      add(type + " single product", device -> device.matmul(x, 1, weight, out));
      add(type + " prefill product", device -> device.matmul(x, PREFILL_ROWS, weight, out));
    }
    return this;
  }

  /** Attention over pages, a row and many rows, and writing them. */
  KernelCandidates attention(AttentionShape shape, PageLayout layout) {
    // One KV head: the others are the same again.
    AttentionShape one =
        new AttentionShape(shape.groupSize(), 1, shape.headSize(), shape.scale(), 0);
    int pages = (TOKENS + layout.pageTokens() - 1) / layout.pageTokens();
    PageMemory memory = vector.pageMemory(layout, (long) pages * layout.pageBytes());
    memory.ensure(pages);
    HeadPages[] heads = {pages(pages, layout.pageTokens())};
    int length = pages * layout.pageTokens();
    int rows = Math.min(PREFILL_ROWS, length);
    Activations query = vector.activations(rows, one.heads() * one.headSize());
    Activations out = vector.activations(rows, one.heads() * one.headSize());
    Activations key = vector.activations(rows, one.headSize());
    List<AttentionSegment> row = List.of(new AttentionSegment(0, 1, length - 1, heads));
    List<AttentionSegment> chunk = List.of(new AttentionSegment(0, rows, length - rows, heads));
    add("decode attention", device -> device.attend(query, one, memory, row, out));
    add("prefill attention", device -> device.attend(query, one, memory, chunk, out));
    add("keys and values", device -> device.writeKv(key, key, one, memory, chunk));
    return this;
  }

  private static HeadPages pages(int count, int pageTokens) {
    HeadPages pages = new HeadPages();
    pages.ensure(count);
    pages.count = count;
    for (int i = 0; i < count; i++) {
      pages.slots[i] = i;
      pages.firstPositions[i] = i * pageTokens;
      pages.tokenCounts[i] = pageTokens;
    }
    return pages;
  }

  /** Sketches of keys, of so many bits a dimension, and what queries find in them. */
  KernelCandidates sketches(AttentionShape shape, PageLayout layout, int planes) {
    AttentionShape one =
        new AttentionShape(shape.groupSize(), 1, shape.headSize(), shape.scale(), 0);
    int pages = (TOKENS + layout.pageTokens() - 1) / layout.pageTokens();
    PageMemory memory = vector.pageMemory(layout, (long) pages * layout.pageBytes());
    memory.ensure(pages);
    KeySketches sketches = new KeySketches(one.headSize(), layout.pageTokens(), planes);
    sketches.ensure(pages);
    for (int page = 0; page < pages; page++) {
      vector.sketchKeys(memory, List.of(new SketchedPage(sketches, page, page)));
    }
    Activations query = vector.activations(1, one.heads() * one.headSize());
    List<SketchSegment> row =
        List.of(new SketchSegment(0, pages * layout.pageTokens(), new KeySketches[] {sketches}));
    add("sketch scores", device -> device.scoreSketches(query, one, row));
    return this;
  }

  /** What happens between the products. */
  KernelCandidates elementwise(GateActivation activation, Rope rope) {
    Activations x = vector.activations(1, COLUMNS);
    Activations y = vector.activations(1, COLUMNS);
    Weight gain = new VectorWeight("self-check", new float[COLUMNS]);
    int headSize = 2 * rope.inverseFrequencies().length;
    Activations heads = vector.activations(1, COLUMNS / headSize * headSize);
    int[] positions = {1};
    add("RMS norm", device -> device.rmsNorm(x, 1, gain, 1e-5f, y));
    add("addition", device -> device.add(x, y, 1));
    add("gate", device -> device.gate(activation, x, y, 1));
    add("logit statistics", device -> device.logitStatistics(x, 0));
    if (heads.columns() > 0) {
      add("RoPE", device -> device.rope(heads, 1, headSize, rope, positions));
    }
    return this;
  }

  @Override
  public void close() {
    vector.close();
    scalar.close();
  }
}
