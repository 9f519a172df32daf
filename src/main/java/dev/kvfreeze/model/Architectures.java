package dev.kvfreeze.model;

import dev.kvfreeze.model.ModelSpec.Features;
import dev.kvfreeze.model.ModelSpec.LayerSpec;
import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.gguf.GgufMetadata;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * How each known architecture's metadata becomes a {@link ModelSpec}. An architecture is an entry of
 * this table, not a class.
 */
final class Architectures {
  /** What distinguishes one architecture from another. */
  private record Traits(
      Rope.Pairing pairing,
      GateActivation activation,
      boolean qkNorm,
      boolean postNorms,
      boolean scaledEmbeddings,
      int slidingPattern) {}

  private static final Traits LLAMA =
      new Traits(Rope.Pairing.INTERLEAVED, GateActivation.SILU, false, false, false, 0);
  private static final Map<String, Traits> KNOWN =
      new TreeMap<>(
          Map.of(
              "llama", LLAMA,
              "mistral", LLAMA,
              "qwen2",
                  new Traits(Rope.Pairing.HALF_SPLIT, GateActivation.SILU, false, false, false, 0),
              "qwen3",
                  new Traits(Rope.Pairing.HALF_SPLIT, GateActivation.SILU, true, false, false, 0),
              // Five sliding-window layers, then one that sees everything (Gemma 3 report, 2.1).
              "gemma3",
                  new Traits(
                      Rope.Pairing.HALF_SPLIT, GateActivation.GELU_TANH, true, true, true, 6)));

  private static final double SLIDING_ROPE_BASE = 10_000;

  private final GgufMetadata metadata;
  private final GgufFile file;
  private final String name;
  private final Traits traits;

  private Architectures(GgufFile file, String name, Traits traits) {
    this.file = file;
    this.metadata = file.metadata();
    this.name = name;
    this.traits = traits;
  }

  /**
   * Reads the spec of a file.
   *
   * @throws ModelFileException for an unknown architecture or impossible sizes
   */
  static ModelSpec read(GgufFile file) {
    String name = file.metadata().string("general.architecture");
    Traits traits = KNOWN.get(name);
    if (traits == null) {
      throw new ModelFileException(
          file.metadata().file() + ": the architecture " + name + " is not supported; known are "
              + String.join(", ", KNOWN.keySet()));
    }
    return new Architectures(file, name, traits).spec();
  }

  private ModelSpec spec() {
    int layers = size("block_count", 1024);
    int hidden = size("embedding_length", 1 << 17);
    int heads = size("attention.head_count", 4096);
    int kvHeads =
        metadata.contains(key("attention.head_count_kv"))
            ? size("attention.head_count_kv", 4096)
            : heads;
    int headSize =
        metadata.contains(key("attention.key_length"))
            ? size("attention.key_length", 4096)
            : hidden / heads;
    require(heads % kvHeads == 0, heads + " query heads are no multiple of " + kvHeads + " KV heads");
    require(headSize % 2 == 0 && headSize > 0, "the head size " + headSize + " is not even");
    require(
        metadata.integerOr(key("attention.value_length"), headSize) == headSize,
        "keys and values of different sizes are not supported");
    var embedding = file.tensor("token_embd.weight");
    require(
        embedding.columns() == hidden,
        "token_embd.weight has " + embedding.columns() + " columns, " + hidden + " are expected");
    boolean bias = file.tensorNames().contains("blk.0.attn_q.bias");
    boolean tied = !file.tensorNames().contains("output.weight");
    ModelSpec spec =
        new ModelSpec(
            name,
            size("context_length", 1 << 24),
            hidden,
            size("feed_forward_length", 1 << 20),
            embedding.rows(),
            heads,
            kvHeads,
            headSize,
            epsilon(),
            traits.scaledEmbeddings() ? (float) Math.sqrt(hidden) : 1,
            traits.activation(),
            layers(layers, heads, kvHeads, headSize),
            new Features(bias, traits.qkNorm(), traits.postNorms(), tied));
    new TensorShapes(file, spec).check();
    return spec;
  }

  private List<LayerSpec> layers(int count, int heads, int kvHeads, int headSize) {
    float scale = (float) (1 / Math.sqrt(headSize));
    int window = (int) Math.min(metadata.integerOr(key("attention.sliding_window"), 0), 1 << 24);
    Rope global = new Rope(frequencies(headSize, ropeBase(), ropeDivisors(headSize)), traits.pairing());
    Rope local =
        new Rope(
            frequencies(
                headSize,
                metadata.numberOr(key("rope.freq_base_swa"), SLIDING_ROPE_BASE),
                null),
            traits.pairing());
    List<LayerSpec> layers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      boolean sliding = window > 0 && sliding(i);
      layers.add(
          new LayerSpec(
              new AttentionShape(heads, kvHeads, headSize, scale, sliding ? window : 0),
              sliding && traits.slidingPattern() > 0 ? local : global));
    }
    return List.copyOf(layers);
  }

  private boolean sliding(int layer) {
    String pattern = key("attention.sliding_window_pattern");
    if (metadata.array(pattern)) {
      boolean[] flags = metadata.flags(pattern);
      return layer < flags.length && flags[layer];
    }
    // Mistral's window covers every layer; qwen2 carries the key but does not use it.
    if (traits.slidingPattern() == 0) {
      return traits == LLAMA;
    }
    int every = (int) metadata.integerOr(pattern, traits.slidingPattern());
    return every > 0 && (layer + 1) % every != 0;
  }

  private double ropeBase() {
    double base = metadata.numberOr(key("rope.freq_base"), 10_000);
    require(base > 1 && Double.isFinite(base), "the RoPE base " + base + " is impossible");
    return base;
  }

  private float[] frequencies(int headSize, double base, float[] divisors) {
    int rotated = (int) metadata.integerOr(key("rope.dimension_count"), headSize);
    require(
        rotated > 0 && rotated <= headSize && rotated % 2 == 0,
        rotated + " rotated dimensions of a head of " + headSize + " are impossible");
    float[] frequencies = new float[rotated / 2];
    for (int i = 0; i < frequencies.length; i++) {
      double frequency = Math.pow(base, -2.0 * i / rotated);
      frequencies[i] = (float) (divisors == null ? frequency : frequency / divisors[i]);
    }
    return frequencies;
  }

  /** Divisors of the frequencies: Llama 3's, from its own tensor, or one factor for all. */
  private float[] ropeDivisors(int headSize) {
    int pairs = (int) metadata.integerOr(key("rope.dimension_count"), headSize) / 2;
    float[] divisors = new float[Math.max(0, Math.min(pairs, 4096))];
    java.util.Arrays.fill(divisors, 1);
    String scaling = metadata.stringOrNull(key("rope.scaling.type"));
    if (scaling != null && !scaling.equals("none") && !scaling.equals("linear")) {
      throw new ModelFileException(
          metadata.file() + ": RoPE scaling of the type " + scaling + " is not supported; none, linear "
              + "and Llama 3's are");
    }
    double factor =
        metadata.numberOr(
            key("rope.scaling.factor"), metadata.numberOr(key("rope.scale_linear"), 1));
    require(factor >= 1 && factor <= 1024, "the RoPE scaling factor " + factor + " is impossible");
    java.util.Arrays.fill(divisors, (float) factor);
    if (file.tensorNames().contains("rope_freqs.weight")) {
      var tensor = file.tensor("rope_freqs.weight");
      require(
          tensor.columns() == divisors.length
              && tensor.type() == dev.kvfreeze.model.tensor.TensorType.F32,
          "rope_freqs.weight does not fit the head");
      for (int i = 0; i < divisors.length; i++) {
        divisors[i] = tensor.bytes().getFloat(4 * i);
        require(divisors[i] > 0, "rope_freqs.weight holds " + divisors[i]);
      }
    }
    return divisors;
  }

  private float epsilon() {
    double epsilon = metadata.number(key("attention.layer_norm_rms_epsilon"));
    require(epsilon > 0 && epsilon < 1, "the norm epsilon " + epsilon + " is impossible");
    return (float) epsilon;
  }

  private int size(String suffix, int most) {
    return metadata.boundedInteger(key(suffix), 1, most);
  }

  private String key(String suffix) {
    return name + "." + suffix;
  }

  private void require(boolean condition, String what) {
    if (!condition) {
      throw new ModelFileException(
          metadata.file() + ": " + what + "; the file is damaged or not a " + name + " model");
    }
  }
}
