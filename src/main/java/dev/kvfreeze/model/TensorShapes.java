package dev.kvfreeze.model;

import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.gguf.GgufTensorInfo;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Checks that every tensor a spec calls for is there in the shape it must have, and that no tensor
 * is left over whose absence from the computation would change the result.
 */
final class TensorShapes {
  /** Read elsewhere, or known to carry nothing that the keys do not say. */
  private static final List<String> HARMLESS = List.of("rope_freqs.weight", "attn_rot_embd.weight");

  private final GgufFile file;
  private final ModelSpec spec;
  private final Set<String> expected = new HashSet<>();

  TensorShapes(GgufFile file, ModelSpec spec) {
    this.file = file;
    this.spec = spec;
  }

  void check() {
    int hidden = spec.hidden();
    require("token_embd.weight", spec.vocabulary(), hidden);
    require("output_norm.weight", 1, hidden);
    if (!spec.features().tiedEmbeddings()) {
      require("output.weight", spec.vocabulary(), hidden);
    }
    for (int i = 0; i < spec.layers().size(); i++) {
      checkLayer("blk." + i + ".");
    }
    for (String name : file.tensorNames()) {
      if (!expected.contains(name) && HARMLESS.stream().noneMatch(name::endsWith)) {
        throw failure(
            "tensor %s is not part of a %s model as known here, leaving it out would change the results"
                .formatted(name.replaceAll("\\p{C}", "?"), spec.architecture()));
      }
    }
  }

  private void checkLayer(String prefix) {
    int hidden = spec.hidden();
    int queryWidth = spec.heads() * spec.headSize();
    int kvWidth = spec.kvHeads() * spec.headSize();
    require(prefix + "attn_norm.weight", 1, hidden);
    require(prefix + "attn_q.weight", queryWidth, hidden);
    require(prefix + "attn_k.weight", kvWidth, hidden);
    require(prefix + "attn_v.weight", kvWidth, hidden);
    require(prefix + "attn_output.weight", hidden, queryWidth);
    require(prefix + "ffn_norm.weight", 1, hidden);
    require(prefix + "ffn_gate.weight", spec.feedForward(), hidden);
    require(prefix + "ffn_up.weight", spec.feedForward(), hidden);
    require(prefix + "ffn_down.weight", hidden, spec.feedForward());
    if (spec.features().qkvBias()) {
      require(prefix + "attn_q.bias", 1, queryWidth);
      require(prefix + "attn_k.bias", 1, kvWidth);
      require(prefix + "attn_v.bias", 1, kvWidth);
    }
    if (spec.features().qkNorm()) {
      require(prefix + "attn_q_norm.weight", 1, spec.headSize());
      require(prefix + "attn_k_norm.weight", 1, spec.headSize());
    }
    if (spec.features().postNorms()) {
      require(prefix + "post_attention_norm.weight", 1, hidden);
      require(prefix + "post_ffw_norm.weight", 1, hidden);
    }
  }

  private void require(String name, int rows, int columns) {
    GgufTensorInfo info = file.tensors().get(name);
    if (info == null) {
      throw failure(
          "tensor %s is missing, a %s model needs it".formatted(name, spec.architecture()));
    }
    if (info.rows() != rows || info.columns() != columns) {
      throw failure(
          "tensor %s has the shape %d x %d (rows x columns), expected %d x %d"
              .formatted(name, info.rows(), info.columns(), rows, columns));
    }
    expected.add(name);
  }

  private ModelFileException failure(String what) {
    return new ModelFileException(
        file.metadata().file() + ": " + what + "; take a complete file of a supported model");
  }
}
