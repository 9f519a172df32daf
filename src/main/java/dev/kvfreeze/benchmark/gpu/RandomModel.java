package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.GateActivation;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelSpec;
import dev.kvfreeze.model.Rope;
import dev.kvfreeze.model.chat.ChatTemplate;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import dev.kvfreeze.model.tokenizer.Tokenizer;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;

/** A llama of a given shape with random weights, equal in all layers: for speeds, not for text. */
final class RandomModel implements LanguageModel {
  private final String name;
  private final ModelSpec spec;
  private final TensorType type;
  private final Map<String, TensorData> shapes = new HashMap<>();

  private RandomModel(String name, ModelSpec spec, TensorType type) {
    this.name = name;
    this.spec = spec;
    this.type = type;
  }

  static RandomModel llama3With8Billion() {
    return of(
        "Llama-3-8B's shape, random Q4_0", 32, 4096, 14_336, 128_256, 32, 8, 128, TensorType.Q4_0);
  }

  static RandomModel smolLm2With135Million() {
    return of(
        "SmolLM2-135M's shape, random Q4_0", 30, 576, 1536, 49_152, 9, 3, 64, TensorType.Q4_0);
  }

  /** Small enough for a host. */
  static RandomModel tiny() {
    return of("tiny, random Q4_0", 2, 256, 512, 1024, 4, 2, 64, TensorType.Q4_0);
  }

  private static RandomModel of(
      String name,
      int layers,
      int hidden,
      int feedForward,
      int vocabulary,
      int heads,
      int kvHeads,
      int headSize,
      TensorType type) {
    float[] frequencies = new float[headSize / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = (float) Math.pow(500_000, -2.0 * i / headSize);
    }
    ModelSpec.LayerSpec layer =
        new ModelSpec.LayerSpec(
            new AttentionShape(heads, kvHeads, headSize, (float) (1 / Math.sqrt(headSize)), 0),
            new Rope(frequencies, Rope.Pairing.INTERLEAVED));
    ModelSpec spec =
        new ModelSpec(
            "llama",
            1 << 20,
            hidden,
            feedForward,
            vocabulary,
            heads,
            kvHeads,
            headSize,
            1e-5f,
            1,
            GateActivation.SILU,
            Collections.nCopies(layers, layer),
            new ModelSpec.Features(false, false, false, true));
    return new RandomModel(name, spec, type);
  }

  /** Weights that a token is multiplied by, the embedding's lookup left out. */
  long parameters() {
    long queries = (long) spec.heads() * spec.headSize();
    long keys = (long) spec.kvHeads() * spec.headSize();
    long layer = spec.hidden() * (2 * queries + 2 * keys) + 3L * spec.hidden() * spec.feedForward();
    return spec.layers().size() * layer;
  }

  @Override
  public TensorData tensor(String tensor) {
    int queries = spec.heads() * spec.headSize();
    int keys = spec.kvHeads() * spec.headSize();
    String kind = tensor.replaceFirst("^blk\\.\\d+\\.", "");
    return switch (kind) {
      case "attn_q.weight" -> matrix(queries, spec.hidden());
      case "attn_k.weight", "attn_v.weight" -> matrix(keys, spec.hidden());
      case "attn_output.weight" -> matrix(spec.hidden(), queries);
      case "ffn_gate.weight", "ffn_up.weight" -> matrix(spec.feedForward(), spec.hidden());
      case "ffn_down.weight" -> matrix(spec.hidden(), spec.feedForward());
      case "token_embd.weight" -> matrix(spec.vocabulary(), spec.hidden());
      default ->
          shapes.computeIfAbsent(
              "norm", k -> new RandomTensors(0).matrix(TensorType.F32, 1, spec.hidden()));
    };
  }

  private TensorData matrix(int rows, int columns) {
    return shapes.computeIfAbsent(
        rows + "x" + columns, k -> new RandomTensors(rows).matrix(type, rows, columns));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String hash() {
    return "random";
  }

  @Override
  public ModelSpec spec() {
    return spec;
  }

  @Override
  public Tokenizer tokenizer() {
    throw new UnsupportedOperationException("random weights have no tokenizer");
  }

  @Override
  public ChatTemplate chatTemplate() {
    return null;
  }

  @Override
  public void close() {
    shapes.clear();
  }
}
