package dev.kvfreeze.model;

import dev.kvfreeze.model.Architectures.Traits;
import dev.kvfreeze.model.ModelSpec.Features;
import dev.kvfreeze.model.ModelSpec.LayerSpec;
import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.gguf.GgufMetadata;
import dev.kvfreeze.model.gguf.GgufTensorInfo;
import java.util.ArrayList;
import java.util.List;

/** Reads a {@link ModelSpec} from a file's metadata; keys are {@code <architecture>.<suffix>}. */
final class SpecReader {
  private static final int MAX_LAYERS = 1024;
  private static final int MAX_HEADS = 4096;
  private static final int MAX_HEAD_SIZE = 4096;
  private static final int MAX_WIDTH = 1 << 20;
  private static final int MAX_CONTEXT = 1 << 28;
  private static final int GEMMA_27B_LAYERS = 62;

  private final GgufFile file;
  private final GgufMetadata metadata;
  private final String name;
  private final Traits traits;

  SpecReader(GgufFile file, String name, Traits traits) {
    this.file = file;
    this.metadata = file.metadata();
    this.name = name;
    this.traits = traits;
  }

  ModelSpec read() {
    refuseUnsupportedParts();
    int layers = size("block_count", MAX_LAYERS);
    int hidden = size("embedding_length", MAX_WIDTH);
    int heads = size("attention.head_count", MAX_HEADS);
    int kvHeads = sizeOr("attention.head_count_kv", MAX_HEADS, heads);
    int headSize = sizeOr("attention.key_length", MAX_HEAD_SIZE, hidden / heads);
    int valueSize = sizeOr("attention.value_length", MAX_HEAD_SIZE, hidden / heads);
    require(heads % kvHeads == 0, "%d query heads are no multiple of %d KV heads", heads, kvHeads);
    require(headSize > 0 && headSize % 2 == 0, "the head size is %d, allowed even sizes", headSize);
    require(
        valueSize == headSize,
        "values have %d dimensions a head and keys %d, allowed the same",
        valueSize,
        headSize);
    boolean tied = !file.tensors().containsKey("output.weight");
    boolean bias = file.tensors().containsKey("blk.0.attn_q.bias");
    return new ModelSpec(
        name,
        size("context_length", MAX_CONTEXT),
        hidden,
        size("feed_forward_length", MAX_WIDTH),
        vocabulary(),
        heads,
        kvHeads,
        headSize,
        epsilon(),
        traits.scaledEmbeddings() ? (float) Math.sqrt(hidden) : 1,
        traits.activation(),
        layers(
            layers,
            new AttentionShape(
                heads, kvHeads, headSize, scale(layers, hidden, heads, headSize), 0)),
        new Features(bias, traits.qkNorm(), traits.postNorms(), tied));
  }

  private void refuseUnsupportedParts() {
    long experts = metadata.integerOr(key("expert_count"), 0);
    require(experts == 0, "it is a mixture of %d experts, which is not supported", experts);
    // Window models with it were trained with the soft cap removed, as llama.cpp runs them.
    double softCap = metadata.numberOr(key("final_logit_softcapping"), 0);
    require(
        softCap == 0 || window() > 0,
        "the logits are soft-capped at %s, which is not supported",
        softCap);
  }

  private int vocabulary() {
    GgufTensorInfo embedding = file.tensors().get("token_embd.weight");
    require(embedding != null, "tensor token_embd.weight is missing");
    return embedding.rows();
  }

  private float epsilon() {
    double epsilon = metadata.number(key("attention.layer_norm_rms_epsilon"));
    require(epsilon > 0 && epsilon < 1, "the norm epsilon is %s, allowed 0 to 1", epsilon);
    return (float) epsilon;
  }

  private float scale(int layers, int hidden, int heads, int headSize) {
    // Gemma 3 27B alone scales by its width over its heads (gemma_pytorch's config), and no key
    // of its file says so.
    boolean gemma27b = name.equals("gemma3") && layers == GEMMA_27B_LAYERS;
    return (float) (1 / Math.sqrt(gemma27b ? hidden / heads : headSize));
  }

  private int window() {
    String key = key("attention.sliding_window");
    return metadata.contains(key) ? metadata.uniformInteger(key, 0, MAX_CONTEXT) : 0;
  }

  private List<LayerSpec> layers(int count, AttentionShape all) {
    RopeReader ropes = new RopeReader(file, name, all.headSize(), traits.pairing());
    Rope global = ropes.global();
    boolean[] sliding = sliding(count);
    Rope local = traits.windows() == Architectures.Windows.FIVE_OF_SIX ? ropes.local() : global;
    AttentionShape windowed =
        new AttentionShape(all.heads(), all.kvHeads(), all.headSize(), all.scale(), window());
    List<LayerSpec> layers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      layers.add(sliding[i] ? new LayerSpec(windowed, local) : new LayerSpec(all, global));
    }
    return List.copyOf(layers);
  }

  private boolean[] sliding(int layers) {
    boolean[] sliding = new boolean[layers];
    if (window() == 0 || traits.windows() == Architectures.Windows.NONE) {
      return sliding;
    }
    String pattern = key("attention.sliding_window_pattern");
    if (metadata.array(pattern)) {
      boolean[] flags = metadata.flags(pattern);
      require(
          flags.length >= layers, "%s has %d entries, needed %d", pattern, flags.length, layers);
      System.arraycopy(flags, 0, sliding, 0, layers);
      return sliding;
    }
    // Layer n - 1 of every n sees all; n = 0: all layers slide.
    int usual = traits.windows() == Architectures.Windows.FIVE_OF_SIX ? 6 : 0;
    int every =
        metadata.contains(pattern) ? metadata.boundedInteger(pattern, 0, MAX_LAYERS) : usual;
    for (int i = 0; i < layers; i++) {
      sliding[i] = every == 0 || (i + 1) % every != 0;
    }
    return sliding;
  }

  private int size(String suffix, int most) {
    return metadata.uniformInteger(key(suffix), 1, most);
  }

  private int sizeOr(String suffix, int most, int fallback) {
    return metadata.contains(key(suffix)) ? size(suffix, most) : fallback;
  }

  private String key(String suffix) {
    return name + "." + suffix;
  }

  private void require(boolean condition, String format, Object... arguments) {
    if (!condition) {
      throw new ModelFileException(
          "%s: %s; convert the model again or take another"
              .formatted(metadata.file(), format.formatted(arguments)));
    }
  }
}
