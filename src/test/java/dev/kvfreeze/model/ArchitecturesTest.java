package dev.kvfreeze.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.kvfreeze.model.ModelSpec.Features;
import dev.kvfreeze.model.ModelSpec.LayerSpec;
import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.gguf.GgufWriter;
import dev.kvfreeze.model.store.StoreSettings;
import java.nio.file.Path;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ArchitecturesTest {
  @TempDir Path folder;

  private static ModelSpec real(String name) {
    Path path = StoreSettings.environmentCacheFolder().resolve("models").resolve(name);
    try (GgufFile file = GgufFile.open(path)) {
      return Architectures.read(file);
    }
  }

  private ModelSpec read(GgufWriter writer) {
    try (GgufFile file = GgufFile.open(writer.write(folder.resolve("model.gguf")))) {
      return Architectures.read(file);
    }
  }

  private void assertRefused(GgufWriter writer, String... parts) {
    assertThatThrownBy(() -> read(writer))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContaining("model.gguf")
        .hasMessageContaining("; ")
        .hasMessageContainingAll(parts);
  }

  /** A tiny model of another architecture: the keys of the llama one under another name. */
  private static GgufWriter tiny(String architecture) {
    GgufWriter writer = TinyModels.llama(3).put("general.architecture", architecture);
    writer
        .put(architecture + ".block_count", TinyModels.LAYERS)
        .put(architecture + ".context_length", 2048)
        .put(architecture + ".embedding_length", TinyModels.HIDDEN)
        .put(architecture + ".feed_forward_length", TinyModels.FEED_FORWARD)
        .put(architecture + ".attention.head_count", TinyModels.HEADS)
        .put(architecture + ".attention.head_count_kv", TinyModels.KV_HEADS)
        .put(architecture + ".attention.layer_norm_rms_epsilon", 1e-6f);
    Random random = new Random(4);
    for (int i = 0; i < TinyModels.LAYERS; i++) {
      String prefix = "blk." + i + ".";
      if (architecture.equals("qwen2")) {
        vector(writer, prefix + "attn_q.bias", TinyModels.HEADS * TinyModels.HEAD_SIZE, random);
        vector(writer, prefix + "attn_k.bias", TinyModels.KV_HEADS * TinyModels.HEAD_SIZE, random);
        vector(writer, prefix + "attn_v.bias", TinyModels.KV_HEADS * TinyModels.HEAD_SIZE, random);
      } else {
        vector(writer, prefix + "attn_q_norm.weight", TinyModels.HEAD_SIZE, random);
        vector(writer, prefix + "attn_k_norm.weight", TinyModels.HEAD_SIZE, random);
      }
      if (architecture.equals("gemma3")) {
        vector(writer, prefix + "post_attention_norm.weight", TinyModels.HIDDEN, random);
        vector(writer, prefix + "post_ffw_norm.weight", TinyModels.HIDDEN, random);
      }
    }
    return writer;
  }

  private static void vector(GgufWriter writer, String name, int size, Random random) {
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = random.nextFloat();
    }
    writer.floats(name, values, size);
  }

  @Test
  void readsSmolLm2() {
    ModelSpec spec = real("SmolLM2-135M-Instruct.Q4_1.gguf");
    assertThat(spec.architecture()).isEqualTo("llama");
    assertThat(spec.contextLength()).isEqualTo(8192);
    assertThat(spec.hidden()).isEqualTo(576);
    assertThat(spec.feedForward()).isEqualTo(1536);
    assertThat(spec.vocabulary()).isEqualTo(49152);
    assertThat(spec.normEpsilon()).isEqualTo(1e-5f);
    assertThat(spec.embeddingScale()).isEqualTo(1);
    assertThat(spec.activation()).isEqualTo(GateActivation.SILU);
    assertThat(spec.features()).isEqualTo(new Features(false, false, false, true));
    assertThat(spec.layers()).hasSize(30);
    for (LayerSpec layer : spec.layers()) {
      assertThat(layer.attention()).isEqualTo(new AttentionShape(9, 3, 64, 0.125f, 0));
      assertThat(layer.rope().pairing()).isEqualTo(Rope.Pairing.INTERLEAVED);
      assertThat(layer.rope().inverseFrequencies()).hasSize(32).startsWith(1);
      assertThat(layer.rope().inverseFrequencies()[31])
          .isCloseTo((float) Math.pow(100_000, -62.0 / 64), within(1e-12f));
    }
  }

  @Test
  void readsGemma3() {
    ModelSpec spec = real("gemma-3-270m-Q4_K_M.gguf");
    assertThat(spec.contextLength()).isEqualTo(32768);
    assertThat(spec.hidden()).isEqualTo(640);
    assertThat(spec.vocabulary()).isEqualTo(262144);
    assertThat(spec.embeddingScale()).isEqualTo((float) Math.sqrt(640));
    assertThat(spec.activation()).isEqualTo(GateActivation.GELU_TANH);
    assertThat(spec.features()).isEqualTo(new Features(false, true, true, true));
    assertThat(spec.layers()).hasSize(18);
    for (int i = 0; i < 18; i++) {
      LayerSpec layer = spec.layers().get(i);
      boolean global = i % 6 == 5;
      assertThat(layer.attention())
          .as("layer %d", i)
          .isEqualTo(new AttentionShape(4, 1, 256, 1f / 16, global ? 0 : 512));
      assertThat(layer.rope().pairing()).isEqualTo(Rope.Pairing.HALF_SPLIT);
      assertThat(layer.rope().inverseFrequencies()).hasSize(128);
      assertThat(layer.rope().inverseFrequencies()[1])
          .isCloseTo((float) Math.pow(global ? 1e6 : 1e4, -1.0 / 128), within(1e-7f));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "qwen2, true, false, false, SILU",
    "qwen3, false, true, false, SILU",
    "gemma3, false, true, true, GELU_TANH"
  })
  void knowsWhatDistinguishesArchitectures(
      String name, boolean bias, boolean qkNorm, boolean postNorms, GateActivation activation) {
    ModelSpec spec = read(tiny(name));
    assertThat(spec.features()).isEqualTo(new Features(bias, qkNorm, postNorms, true));
    assertThat(spec.activation()).isEqualTo(activation);
    assertThat(spec.layers().get(0).rope().pairing()).isEqualTo(Rope.Pairing.HALF_SPLIT);
    assertThat(spec.embeddingScale()).isEqualTo(name.equals("gemma3") ? 8 : 1);
  }

  @Test
  void untiedEmbeddingsHaveTheirOwnOutput() {
    GgufWriter writer = TinyModels.llama(1);
    int rows = writer.tensorBytes("token_embd.weight").length / 4 / TinyModels.HIDDEN;
    writer.floats("output.weight", new float[rows * TinyModels.HIDDEN], TinyModels.HIDDEN, rows);
    assertThat(read(writer).features().tiedEmbeddings()).isFalse();
  }

  @ParameterizedTest
  @CsvSource({
    "lama, llama",
    "qwen25, qwen2",
    "Gemma3, gemma3",
    "mistrall, mistral",
    "qwen3moe, qwen3"
  })
  void refusesUnknownArchitecturesByName(String name, String nearest) {
    assertRefused(
        TinyModels.llama(1).put("general.architecture", name),
        "'" + name + "'",
        "gemma3, llama, mistral, qwen2, qwen3",
        "nearest: " + nearest);
  }

  @Test
  void slidingWindowsFollowTheMetadata() {
    GgufWriter gemma = tiny("gemma3").put("gemma3.attention.sliding_window", 32);
    gemma.put("gemma3.attention.sliding_window_pattern", 2);
    assertThat(windows(read(gemma))).containsExactly(32, 0);
    gemma.put("gemma3.attention.sliding_window_pattern", new boolean[] {false, true});
    assertThat(windows(read(gemma))).containsExactly(0, 32);
    assertRefused(
        gemma.put("gemma3.attention.sliding_window_pattern", new boolean[] {true}),
        "sliding_window_pattern",
        "1 entries");
    // Mistral's window is every layer's; qwen2 names one and does not use it.
    assertThat(windows(read(TinyModels.llama(1).put("llama.attention.sliding_window", 64))))
        .containsExactly(64, 64);
    assertThat(windows(read(tiny("qwen2").put("qwen2.attention.sliding_window", 64))))
        .containsExactly(0, 0);
  }

  private static int[] windows(ModelSpec spec) {
    return spec.layers().stream().mapToInt(layer -> layer.attention().window()).toArray();
  }

  private float[] frequencies(GgufWriter writer) {
    return read(writer).layers().get(0).rope().inverseFrequencies();
  }

  @Test
  void linearScalingDividesEveryFrequency() {
    float[] plain = frequencies(TinyModels.llama(1));
    float[] scaled =
        frequencies(
            TinyModels.llama(1)
                .put("llama.rope.scaling.type", "linear")
                .put("llama.rope.scaling.factor", 4f));
    float[] none =
        frequencies(
            TinyModels.llama(1)
                .put("llama.rope.scaling.type", "none")
                .put("llama.rope.scaling.factor", 4f));
    assertThat(none).isEqualTo(plain);
    for (int i = 0; i < plain.length; i++) {
      assertThat(scaled[i]).isEqualTo(plain[i] / 4);
    }
  }

  @Test
  void llama3ScalingIsTheSameByTensorAndByKeys() {
    // Factors as Llama 3.1's converter works them out for heads of 16.
    int rotated = TinyModels.HEAD_SIZE;
    double base = 500_000;
    float[] factors = new float[rotated / 2];
    for (int i = 0; i < factors.length; i++) {
      double wave = 2 * Math.PI * Math.pow(base, 2.0 * i / rotated);
      double smooth = (8192 / wave - 1) / (4 - 1);
      factors[i] =
          (float) (wave < 8192 / 4.0 ? 1 : wave > 8192 ? 8 : 1 / ((1 - smooth) / 8 + smooth));
    }
    assertThat(factors).contains(1, 8);
    float[] byTensor =
        frequencies(
            TinyModels.llama(1)
                .put("llama.rope.freq_base", (float) base)
                .floats("rope_freqs.weight", factors, factors.length));
    float[] byKeys =
        frequencies(
            TinyModels.llama(1)
                .put("llama.rope.freq_base", (float) base)
                .put("llama.rope.scaling.type", "llama3")
                .put("llama.rope.scaling.factor", 8f)
                .put("llama.rope.scaling.low_freq_factor", 1f)
                .put("llama.rope.scaling.high_freq_factor", 4f)
                .put("llama.rope.scaling.original_context_length", 8192));
    for (int i = 0; i < factors.length; i++) {
      float expected = (float) (Math.pow(base, -2.0 * i / rotated) / factors[i]);
      assertThat(byTensor[i]).isEqualTo(expected);
      assertThat(byKeys[i]).isCloseTo(expected, within(expected * 1e-6f));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"yarn", "longrope", "dynamic"})
  void refusesOtherRopeScaling(String type) {
    assertRefused(TinyModels.llama(1).put("llama.rope.scaling.type", type), type, "llama3");
  }

  @Test
  void refusesImpossibleSizes() {
    assertRefused(TinyModels.llama(1).put("llama.block_count", 0), "llama.block_count is 0");
    assertRefused(TinyModels.llama(1).put("llama.block_count", 1 << 30), "allowed 1 to 1024");
    assertRefused(TinyModels.llama(1).put("llama.block_count", 3), "blk.2.attn_norm.weight");
    assertRefused(
        TinyModels.llama(1).put("llama.attention.head_count_kv", 3), "4 query heads", "3 KV heads");
    assertRefused(TinyModels.llama(1).put("llama.attention.key_length", 17), "17", "even");
    assertRefused(TinyModels.llama(1).put("llama.attention.value_length", 8), "values have 8");
    assertRefused(
        TinyModels.llama(1).put("llama.attention.layer_norm_rms_epsilon", Float.NaN), "epsilon");
    assertRefused(TinyModels.llama(1).put("llama.rope.freq_base", -1f), "rope.freq_base");
    assertRefused(TinyModels.llama(1).put("llama.rope.dimension_count", 15), "even");
    assertRefused(TinyModels.llama(1).put("llama.rope.dimension_count", 18), "allowed 2 to 16");
    assertRefused(TinyModels.llama(1).put("llama.embedding_length", "64"), "an integer");
    assertRefused(TinyModels.llama(1).remove("llama.context_length"), "llama.context_length");
    assertRefused(TinyModels.llama(1).put("llama.expert_count", 8), "mixture of 8 experts");
    assertRefused(
        TinyModels.llama(1).put("llama.feed_forward_length", new int[] {96, 128}), "differs");
    assertThat(read(TinyModels.llama(1).put("llama.feed_forward_length", new int[] {96, 96})))
        .isNotNull();
  }

  @Test
  void refusesMissingMisshapenAndUnexpectedTensors() {
    for (String name :
        new String[] {"token_embd.weight", "output_norm.weight", "blk.1.ffn_up.weight"}) {
      assertRefused(TinyModels.llama(1).removeTensor(name), name, "missing");
    }
    assertRefused(
        TinyModels.llama(1).floats("blk.0.attn_norm.weight", new float[32], 32),
        "blk.0.attn_norm.weight",
        "1 x 32",
        "1 x 64");
    assertRefused(
        TinyModels.llama(1).floats("blk.1.ffn_down.weight", new float[96 * 64], 64, 96),
        "blk.1.ffn_down.weight",
        "96 x 64",
        "64 x 96");
    assertRefused(tiny("qwen2").removeTensor("blk.1.attn_v.bias"), "blk.1.attn_v.bias");
    assertRefused(tiny("qwen3").removeTensor("blk.0.attn_k_norm.weight"), "attn_k_norm");
    assertRefused(
        TinyModels.llama(1).floats("blk.0.ffn_up.bias", new float[96], 96),
        "blk.0.ffn_up.bias",
        "not part of");
    assertRefused(
        TinyModels.llama(1).floats("rope_freqs.weight", new float[] {1, 1}, 2), "rope_freqs");
    assertRefused(TinyModels.llama(1).floats("rope_freqs.weight", new float[8], 8), "above 0");
  }

  @Test
  void knowsItsNames() {
    assertThat(Architectures.names())
        .containsExactly("gemma3", "llama", "mistral", "qwen2", "qwen3");
    assertThat(IntStream.range(0, 2).mapToObj(i -> read(tiny("qwen3")).layers().get(i)))
        .allMatch(layer -> layer.attention().groupSize() == 2);
  }
}
