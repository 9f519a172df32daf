package dev.kvfreeze.model;

import dev.kvfreeze.model.gguf.GgufWriter;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Tiny random models, some tens of kilobytes, complete with a byte-level BPE tokenizer and a chat
 * template. They write nonsense, the same for the same seed. Change the writer that comes back to
 * make other models and broken ones.
 */
public final class TinyModels {
  public static final int LAYERS = 2;
  public static final int HIDDEN = 64;
  public static final int HEADS = 4;
  public static final int KV_HEADS = 2;
  public static final int HEAD_SIZE = 16;
  public static final int FEED_FORWARD = 96;
  public static final int BEGIN_TOKEN = 256;
  public static final int END_TOKEN = 257;

  private static final String CHAT_TEMPLATE =
      "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
          + "{{ message['content'] }}<|im_end|>\n{% endfor %}"
          + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

  private TinyModels() {}

  /** A llama with tied embeddings in F32, attention in Q8_0 and the rest in F32. */
  public static GgufWriter llama(long seed) {
    GgufWriter writer =
        new GgufWriter()
            .put("general.architecture", "llama")
            .put("general.name", "tiny")
            .put("llama.block_count", LAYERS)
            .put("llama.context_length", 2048)
            .put("llama.embedding_length", HIDDEN)
            .put("llama.feed_forward_length", FEED_FORWARD)
            .put("llama.attention.head_count", HEADS)
            .put("llama.attention.head_count_kv", KV_HEADS)
            .put("llama.attention.layer_norm_rms_epsilon", 1e-5f)
            .put("llama.rope.freq_base", 10_000f)
            .put("llama.rope.dimension_count", HEAD_SIZE);
    int vocabulary = putTokenizer(writer);
    Random random = new Random(seed);
    // Small against what the layers add, or every token would only repeat itself.
    float[] embedding = normal(random, vocabulary * HIDDEN, 0.25);
    writer.floats("token_embd.weight", embedding, HIDDEN, vocabulary);
    for (int layer = 0; layer < LAYERS; layer++) {
      putLayer(writer, "blk." + layer + ".", random);
    }
    return writer.floats("output_norm.weight", around(random, HIDDEN), HIDDEN);
  }

  private static void putLayer(GgufWriter writer, String prefix, Random random) {
    int queryWidth = HEADS * HEAD_SIZE;
    int kvWidth = KV_HEADS * HEAD_SIZE;
    writer.floats(prefix + "attn_norm.weight", around(random, HIDDEN), HIDDEN);
    putQ80(writer, prefix + "attn_q.weight", random, HIDDEN, queryWidth);
    putQ80(writer, prefix + "attn_k.weight", random, HIDDEN, kvWidth);
    putQ80(writer, prefix + "attn_v.weight", random, HIDDEN, kvWidth);
    putQ80(writer, prefix + "attn_output.weight", random, queryWidth, HIDDEN);
    writer.floats(prefix + "ffn_norm.weight", around(random, HIDDEN), HIDDEN);
    putMatrix(writer, prefix + "ffn_gate.weight", random, HIDDEN, FEED_FORWARD);
    putMatrix(writer, prefix + "ffn_up.weight", random, HIDDEN, FEED_FORWARD);
    putMatrix(writer, prefix + "ffn_down.weight", random, FEED_FORWARD, HIDDEN);
  }

  private static void putMatrix(
      GgufWriter writer, String name, Random random, int columns, int rows) {
    double scale = 1 / Math.sqrt(columns);
    writer.floats(name, normal(random, rows * columns, scale), columns, rows);
  }

  private static void putQ80(GgufWriter writer, String name, Random random, int columns, int rows) {
    int blocks = rows * columns / 32;
    ByteBuffer bytes = ByteBuffer.allocate(blocks * 34).order(ByteOrder.LITTLE_ENDIAN);
    for (int b = 0; b < blocks; b++) {
      bytes.putShort((short) 0x1400); // 2^-10
      for (int i = 0; i < 32; i++) {
        bytes.put((byte) Math.max(-127, Math.min(127, Math.round(60 * random.nextGaussian()))));
      }
    }
    writer.tensor(name, TensorType.Q8_0, bytes.array(), columns, rows);
  }

  private static float[] normal(Random random, int count, double scale) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (scale * random.nextGaussian());
    }
    return values;
  }

  private static float[] around(Random random, int count) {
    float[] values = normal(random, count, 0.1);
    for (int i = 0; i < count; i++) {
      values[i] += 1;
    }
    return values;
  }

  /** 256 bytes, begin, end, two chat markers, and merges of frequent pairs. */
  private static int putTokenizer(GgufWriter writer) {
    List<String> tokens = new ArrayList<>();
    List<Integer> types = new ArrayList<>();
    for (int value = 0; value < 256; value++) {
      tokens.add(Character.toString(byteCharacter(value)));
      types.add(1);
    }
    for (String special : new String[] {"<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>"}) {
      tokens.add(special);
      types.add(3);
    }
    String[] merges = {"t h", "th e", "i n", "a n", "\u0120 t", "o n", "e r"};
    for (String merge : merges) {
      tokens.add(merge.replace(" ", ""));
      types.add(1);
    }
    writer
        .put("tokenizer.ggml.model", "gpt2")
        .put("tokenizer.ggml.pre", "smollm")
        .put("tokenizer.ggml.tokens", tokens.toArray(String[]::new))
        .put("tokenizer.ggml.token_type", types.stream().mapToInt(i -> i).toArray())
        .put("tokenizer.ggml.merges", merges)
        .put("tokenizer.ggml.bos_token_id", BEGIN_TOKEN)
        .put("tokenizer.ggml.eos_token_id", END_TOKEN)
        .put("tokenizer.ggml.add_bos_token", false)
        .put("tokenizer.chat_template", CHAT_TEMPLATE);
    return tokens.size();
  }

  /** GPT-2's visible stand-in for a byte: itself if it is visible, else one after U+0100. */
  private static int byteCharacter(int value) {
    int next = 0x100;
    for (int other = 0; other < 256; other++) {
      boolean visible =
          other >= '!' && other <= '~' || other >= 0xa1 && other <= 0xac || other >= 0xae;
      if (other == value) {
        return visible ? value : next;
      }
      next += visible ? 0 : 1;
    }
    throw new IllegalArgumentException("no byte: " + value);
  }
}
