package dev.kvfreeze.model;

import dev.kvfreeze.model.gguf.GgufFile;
import java.util.Comparator;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * The known architectures. Each is an entry of data here, read by {@link SpecReader}: to add one,
 * add an entry (and what it needs that none had before to {@link ModelSpec}).
 */
public final class Architectures {
  /**
   * What an architecture's metadata leaves unsaid.
   *
   * @param pairing how GGUF orders the rotated dimensions of its weights
   * @param activation of the feed-forward gate
   * @param qkNorm queries and keys are normed head by head
   * @param postNorms a norm follows attention and feed-forward
   * @param scaledEmbeddings embeddings are multiplied by the square root of their width
   * @param windows which layers a sliding window in the metadata applies to
   */
  record Traits(
      Rope.Pairing pairing,
      GateActivation activation,
      boolean qkNorm,
      boolean postNorms,
      boolean scaledEmbeddings,
      Windows windows) {}

  /** Which layers slide when the metadata names a window but no pattern. */
  enum Windows {
    /** None: qwen2's converter writes the key for models that do not use it. */
    NONE,
    /** All of them: Mistral 7B v0.1 (arXiv 2310.06825). */
    ALL,
    /** Five of six, the sixth sees everything: Gemma 3 (arXiv 2503.19786). */
    FIVE_OF_SIX
  }

  private static final Traits LLAMA =
      new Traits(Rope.Pairing.INTERLEAVED, GateActivation.SILU, false, false, false, Windows.ALL);
  private static final Map<String, Traits> KNOWN =
      new TreeMap<>(
          Map.of(
              "llama",
              LLAMA,
              "mistral",
              LLAMA,
              "qwen2",
              new Traits(
                  Rope.Pairing.HALF_SPLIT, GateActivation.SILU, false, false, false, Windows.NONE),
              "qwen3",
              new Traits(
                  Rope.Pairing.HALF_SPLIT, GateActivation.SILU, true, false, false, Windows.NONE),
              "gemma3",
              new Traits(
                  Rope.Pairing.HALF_SPLIT,
                  GateActivation.GELU_TANH,
                  true,
                  true,
                  true,
                  Windows.FIVE_OF_SIX)));

  private Architectures() {}

  /** Names of the known architectures, as in {@code general.architecture}. */
  public static Set<String> names() {
    return KNOWN.keySet();
  }

  /**
   * The spec of a model file, with all its tensors checked to be there in the right shapes.
   *
   * @throws ModelFileException for an unknown architecture, impossible sizes, or missing or
   *     misshapen tensors
   */
  public static ModelSpec read(GgufFile file) {
    String name = file.metadata().string("general.architecture");
    Traits traits = KNOWN.get(name);
    if (traits == null) {
      throw new ModelFileException(
          "%s: the architecture '%s' is not supported, known are %s (nearest: %s); take a model of"
                  .formatted(
                      file.metadata().file(),
                      shorten(name),
                      String.join(", ", KNOWN.keySet()),
                      nearest(name))
              + " one of these");
    }
    ModelSpec spec = new SpecReader(file, name, traits).read();
    new TensorShapes(file, spec).check();
    return spec;
  }

  private static String nearest(String name) {
    String query = shorten(name);
    return KNOWN.keySet().stream()
        .min(Comparator.comparingInt(known -> editDistance(query, known)))
        .orElseThrow();
  }

  private static String shorten(String name) {
    String visible = name.replaceAll("\\p{C}", "?");
    return visible.length() <= 40 ? visible : visible.substring(0, 40) + "...";
  }

  /** Levenshtein distance. */
  private static int editDistance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j < row.length; j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j < row.length; j++) {
        int substitute = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(substitute, Math.min(row[j], row[j - 1]) + 1);
      }
    }
    return row[b.length()];
  }
}
