package dev.kvfreeze.engine;

import dev.kvfreeze.cache.PageChoices;
import dev.kvfreeze.cache.SequenceCache;
import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.AttentionSegment;
import dev.kvfreeze.device.BlockInput;
import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.KeySmoothing;
import dev.kvfreeze.device.LogitStatistics;
import dev.kvfreeze.device.PageMemory;
import dev.kvfreeze.device.QkvFinish;
import dev.kvfreeze.device.QkvRows;
import dev.kvfreeze.device.SketchSegment;
import dev.kvfreeze.device.SketchedPage;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.freeze.StepKind;
import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * The one decoder-only transformer: what differs between architectures is data ({@link ModelSpec}).
 * A forward pass takes slices of several sequences, leaves the final hidden state of every row, and
 * logits are computed for the rows that are asked for. Engine thread only.
 */
public final class Transformer {
  /** Of a chunk of a prompt that is read with frozen pages: how many choose what is recalled. */
  private static final int QUERIES_ASKED = 8;

  private final Device device;
  private final ModelSpec spec;
  private final TransformerWeights weights;
  private final PageMemory memory;

  /** Of the keys in the memory. */
  private final KeySmoothing smoothing;

  private final int maxRows;

  /** Whether the pass is a decode step: one row of each sequence. */
  private boolean decoding;

  private StepKind kind = StepKind.PREFILL;

  /** Of the pass, or null. */
  private QkvObserver observer;

  private final List<SketchSegment> scored = new ArrayList<>();
  private final List<SketchedPage> unsketched = new ArrayList<>();

  private final int[] positions;
  private final int[] tokens;

  /** The residual stream, [maxRows, hidden]. */
  private final Activations residual;

  /** Input of a block after its norm, and the block's output before it is added to the residual. */
  private final Activations normed;

  private final Activations blockOutput;
  private final Activations query;
  private final Activations key;
  private final Activations value;
  private final Activations attention;
  private final Activations gate;
  private final Activations up;

  /** [maxLogitRows, vocabulary]. */
  private final Activations logits;

  private final Activations[] qkvOutputs;
  private final Activations[] gateUpOutputs;
  private final Activations[] blockOutputs;
  private final Activations[] logitOutputs;

  /**
   * Loads the weights and takes the working memory.
   *
   * @param maxRows most rows of a forward pass
   * @param maxLogitRows most rows whose logits are held at a time
   */
  public Transformer(
      LanguageModel model, Device device, PageMemory memory, int maxRows, int maxLogitRows) {
    this.device = device;
    this.spec = model.spec();
    this.memory = memory;
    this.smoothing = KeySmoothing.NONE;
    this.maxRows = maxRows;
    this.weights = TransformerWeights.load(model, device);
    int queryWidth = spec.heads() * spec.headSize();
    int kvWidth = spec.kvHeads() * spec.headSize();
    this.positions = new int[maxRows];
    this.tokens = new int[maxRows];
    this.residual = device.activations(maxRows, spec.hidden());
    this.normed = device.activations(maxRows, spec.hidden());
    this.blockOutput = device.activations(maxRows, spec.hidden());
    this.query = device.activations(maxRows, queryWidth);
    this.key = device.activations(maxRows, kvWidth);
    this.value = device.activations(maxRows, kvWidth);
    this.attention = device.activations(maxRows, queryWidth);
    this.gate = device.activations(maxRows, spec.feedForward());
    this.up = device.activations(maxRows, spec.feedForward());
    this.logits = device.activations(maxLogitRows, spec.vocabulary());
    this.qkvOutputs = new Activations[] {query, key, value};
    this.gateUpOutputs = new Activations[] {gate, up};
    this.blockOutputs = new Activations[] {blockOutput};
    this.logitOutputs = new Activations[] {logits};
  }

  private Transformer(Transformer other, PageMemory memory, KeySmoothing smoothing) {
    this.device = other.device;
    this.spec = other.spec;
    this.memory = memory;
    this.smoothing = smoothing;
    this.maxRows = other.maxRows;
    this.weights = other.weights;
    this.positions = other.positions;
    this.tokens = other.tokens;
    this.residual = other.residual;
    this.normed = other.normed;
    this.blockOutput = other.blockOutput;
    this.query = other.query;
    this.key = other.key;
    this.value = other.value;
    this.attention = other.attention;
    this.gate = other.gate;
    this.up = other.up;
    this.logits = other.logits;
    this.qkvOutputs = other.qkvOutputs;
    this.gateUpOutputs = other.gateUpOutputs;
    this.blockOutputs = other.blockOutputs;
    this.logitOutputs = other.logitOutputs;
  }

  /**
   * The same transformer on the pages of another cache. Weights and working memory are shared, so
   * only one of the two may be in use at a time.
   */
  public Transformer withMemory(PageMemory other) {
    return withMemory(other, KeySmoothing.NONE);
  }

  /** The same, whose keys in that cache are smoothed. */
  public Transformer withMemory(PageMemory other, KeySmoothing smoothed) {
    return new Transformer(this, other, smoothed);
  }

  /** Bytes of the weights on the device. */
  public long weightBytes() {
    return weights.residentBytes();
  }

  public ModelSpec spec() {
    return spec;
  }

  Device device() {
    return device;
  }

  /**
   * Runs the slices' tokens through all layers, writing their keys and values into the caches.
   * Afterwards row r of the hidden states belongs to the r-th token of the slices in order.
   *
   * @return the number of rows
   */
  public int forward(List<ForwardSlice> slices) {
    boolean single = slices.stream().allMatch(slice -> slice.count() == 1);
    return forward(slices, single ? StepKind.DECODE : StepKind.PREFILL);
  }

  /** The same, saying what the pass is. */
  public int forward(List<ForwardSlice> slices, StepKind kind) {
    int rows = gatherRows(slices);
    decoding = rows == slices.size();
    this.kind = kind;
    device.embed(weights.embedding(), tokens, 0, rows, spec.embeddingScale(), residual);
    Activations addend = null;
    Weight addendNorm = null;
    for (int layer = 0; layer < weights.layers().size(); layer++) {
      TransformerWeights.Layer w = weights.layers().get(layer);
      attentionBlock(layer, w, input(addend, addendNorm, w.attentionNorm()), slices, rows);
      addend = blockOutput;
      feedForwardBlock(w, input(addend, w.postAttentionNorm(), w.feedForwardNorm()), rows);
      addendNorm = w.postFeedForwardNorm();
    }
    device.requestMass();
    device.addNorm(input(addend, addendNorm, weights.outputNorm()), rows);
    return rows;
  }

  /** The same, showing queries and keys to an observer. */
  int forward(List<ForwardSlice> slices, StepKind kind, QkvObserver shown) {
    observer = shown;
    try {
      return forward(slices, kind);
    } finally {
      observer = null;
    }
  }

  /** Most rows of a pass. */
  int maxRows() {
    return maxRows;
  }

  /** Before the policies look at a pass: their attention mass is there. */
  public void awaitMass() {
    device.awaitMass();
  }

  private int gatherRows(List<ForwardSlice> slices) {
    int rows = 0;
    for (ForwardSlice slice : slices) {
      if (rows + slice.count() > maxRows) {
        throw new IllegalArgumentException(
            "a forward pass holds at most " + maxRows + " rows, more were given");
      }
      System.arraycopy(slice.tokens(), slice.offset(), tokens, rows, slice.count());
      int first = slice.firstPosition();
      for (int i = 0; i < slice.count(); i++) {
        positions[rows + i] = first + i;
      }
      rows += slice.count();
    }
    return rows;
  }

  /** What a block begins with; what the one before has left is added first. */
  private BlockInput input(Activations addend, Weight addendNorm, Weight norm) {
    return new BlockInput(residual, addend, addendNorm, norm, spec.normEpsilon(), normed);
  }

  private void attentionBlock(
      int layer,
      TransformerWeights.Layer w,
      BlockInput input,
      List<ForwardSlice> slices,
      int rows) {
    ModelSpec.LayerSpec layerSpec = spec.layers().get(layer);
    AttentionShape shape = layerSpec.attention();
    product(input, rows, new Weight[] {w.query(), w.key(), w.value()}, qkvOutputs);
    for (ForwardSlice slice : slices) {
      slice.cache().openLayer(layer, firstVisible(slice, shape));
    }
    if (layer + 1 < spec.layers().size()) {
      AttentionShape next = spec.layers().get(layer + 1).attention();
      for (ForwardSlice slice : slices) {
        slice.cache().prefetchLayer(layer + 1, firstVisible(slice, next));
      }
    }
    List<AttentionSegment> segments = segments(layer, slices);
    QkvRows qkv = new QkvRows(query, key, value, rows, positions);
    QkvFinish finish = finish(layer, layerSpec, w);
    if (observer == null) {
      device.finishQkv(qkv, finish, shape, memory, segments);
    } else {
      finish.inSingleOperations(device, qkv, shape, memory, segments);
      observer.observe(layer, qkv);
    }
    if (kind == StepKind.DECODE) {
      recall(layer, shape, slices);
    } else {
      recallForChunks(layer, shape, segments, slices);
    }
    device.attend(query, shape, memory, segments, attention);
    sketch(layer, slices);
    if (slices.stream().anyMatch(slice -> slice.cache().observesLayers(kind))) {
      device.awaitMass();
    }
    for (ForwardSlice slice : slices) {
      slice.cache().closeLayer(layer, kind);
    }
    product(attention, rows, new Weight[] {w.attentionOutput()}, blockOutputs);
  }

  private QkvFinish finish(int index, ModelSpec.LayerSpec layer, TransformerWeights.Layer w) {
    return new QkvFinish(
        w.queryBias(),
        w.keyBias(),
        w.valueBias(),
        w.queryNorm(),
        w.keyNorm(),
        spec.normEpsilon(),
        smoothing.isNone() ? null : smoothing.queryFactors()[index],
        smoothing.isNone() ? null : smoothing.keyFactors()[index],
        layer.rope());
  }

  private static int firstVisible(ForwardSlice slice, AttentionShape shape) {
    return shape.window() <= 0 ? 0 : Math.max(0, slice.firstPosition() - shape.window() + 1);
  }

  /** Frozen pages that this step's queries want come back before the attention. */
  private void recall(int layer, AttentionShape shape, List<ForwardSlice> slices) {
    scored.clear();
    for (int row = 0; row < slices.size(); row++) {
      SequenceCache cache = slices.get(row).cache();
      if (cache.wantsEstimates(layer, kind)) {
        scored.add(
            new SketchSegment(row, slices.get(row).firstPosition(), cache.sketches(layer, kind)));
      } else if (cache.choices().wanted(layer)) {
        choosePages(layer, shape, row, slices.get(row));
      }
    }
    if (scored.isEmpty()) {
      return;
    }
    device.scoreSketches(query, shape, scored);
    for (SketchSegment segment : scored) {
      slices.get(segment.row()).cache().recall(layer);
    }
  }

  /** For baselines: the pages of this step by their boxes, or by the attention over all of them. */
  private void choosePages(int layer, AttentionShape shape, int row, ForwardSlice slice) {
    PageChoices choices = slice.cache().choices();
    if (choices.byAttention()) {
      choices.measure(layer);
      int position = slice.firstPosition();
      List<AttentionSegment> all =
          List.of(new AttentionSegment(row, 1, position, slice.cache().pages(layer)));
      device.attend(query, shape, memory, all, attention);
      choices.chooseByAttention(layer);
    } else {
      float[] queries = new float[spec.heads() * spec.headSize()];
      device.read(query, row, queries);
      choices.chooseByBoxes(layer, queries, shape, firstVisible(slice, shape));
    }
  }

  /** A few of a chunk's queries speak for all, one after the other. */
  private void recallForChunks(
      int layer, AttentionShape shape, List<AttentionSegment> segments, List<ForwardSlice> slices) {
    for (int i = 0; i < slices.size(); i++) {
      SequenceCache cache = slices.get(i).cache();
      if (!cache.wantsEstimates(layer, kind)) {
        continue;
      }
      int count = segments.get(i).rowCount();
      int asked = Math.min(count, QUERIES_ASKED);
      for (int n = 1; n <= asked; n++) {
        int row = n * count / asked - 1;
        SketchSegment asking =
            new SketchSegment(
                segments.get(i).firstRow() + row,
                segments.get(i).firstPosition() + row,
                cache.sketches(layer, kind));
        device.scoreSketches(this.query, shape, List.of(asking));
        cache.recall(layer);
      }
    }
  }

  private void sketch(int layer, List<ForwardSlice> slices) {
    unsketched.clear();
    for (ForwardSlice slice : slices) {
      slice.cache().collectUnsketched(layer, unsketched);
    }
    if (!unsketched.isEmpty()) {
      device.sketchKeys(memory, unsketched);
    }
  }

  private void product(BlockInput input, int rows, Weight[] factors, Activations[] outputs) {
    if (decoding) {
      device.decodeNormMatmul(input, rows, factors, outputs);
    } else {
      device.addNorm(input, rows);
      device.matmul(input.normed(), rows, factors, outputs);
    }
  }

  private void product(Activations x, int rows, Weight[] factors, Activations[] outputs) {
    if (decoding) {
      device.decodeMatmul(x, rows, factors, outputs);
    } else {
      device.matmul(x, rows, factors, outputs);
    }
  }

  private List<AttentionSegment> segments(int layer, List<ForwardSlice> slices) {
    List<AttentionSegment> segments = new ArrayList<>(slices.size());
    int row = 0;
    for (ForwardSlice slice : slices) {
      segments.add(
          new AttentionSegment(
              row, slice.count(), slice.firstPosition(), slice.cache().pages(layer)));
      row += slice.count();
    }
    return segments;
  }

  private void feedForwardBlock(TransformerWeights.Layer w, BlockInput input, int rows) {
    product(input, rows, new Weight[] {w.gate(), w.up()}, gateUpOutputs);
    Weight[] down = {w.down()};
    if (decoding) {
      device.decodeGateMatmul(spec.activation(), gate, up, rows, down, blockOutputs);
    } else {
      device.gate(spec.activation(), gate, up, rows);
      device.matmul(gate, rows, down, blockOutputs);
    }
  }

  /** Logits of the first {@code rows} rows of the last forward pass, into rows 0 onwards. */
  public void logitsOfRows(int rows) {
    product(normed, rows, new Weight[] {weights.output()}, logitOutputs);
  }

  /** Logits of one row of the last forward pass, into row 0. */
  public void logitsOfRow(int row) {
    if (decoding && row == 0) {
      logitsOfRows(1);
      return;
    }
    device.matmulRow(normed, row, weights.output(), logits, 0);
  }

  /** Statistics of a row of logits. */
  public LogitStatistics statistics(int logitRow) {
    return device.logitStatistics(logits, logitRow);
  }

  /** Copies a row of logits to the host; {@code target} has the vocabulary's size. */
  public void readLogits(int logitRow, float[] target) {
    device.read(logits, logitRow, target);
  }
}
