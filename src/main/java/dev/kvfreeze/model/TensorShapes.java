package dev.kvfreeze.model;

import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.tensor.TensorData;

/** Checks that every tensor a spec calls for is there and has the shape it must have. */
final class TensorShapes {
  private final GgufFile file;
  private final ModelSpec spec;

  TensorShapes(GgufFile file, ModelSpec spec) {
    this.file = file;
    this.spec = spec;
  }

  void check() {
    int queryWidth = spec.heads() * spec.headSize();
    int kvWidth = spec.kvHeads() * spec.headSize();
    vector("output_norm.weight", spec.hidden());
    if (!spec.features().tiedEmbeddings()) {
      matrix("output.weight", spec.vocabulary(), spec.hidden());
    }
    for (int i = 0; i < spec.layers().size(); i++) {
      String prefix = "blk." + i + ".";
      vector(prefix + "attn_norm.weight", spec.hidden());
      matrix(prefix + "attn_q.weight", queryWidth, spec.hidden());
      matrix(prefix + "attn_k.weight", kvWidth, spec.hidden());
      matrix(prefix + "attn_v.weight", kvWidth, spec.hidden());
      matrix(prefix + "attn_output.weight", spec.hidden(), queryWidth);
      vector(prefix + "ffn_norm.weight", spec.hidden());
      matrix(prefix + "ffn_gate.weight", spec.feedForward(), spec.hidden());
      matrix(prefix + "ffn_up.weight", spec.feedForward(), spec.hidden());
      matrix(prefix + "ffn_down.weight", spec.hidden(), spec.feedForward());
      if (spec.features().qkvBias()) {
        vector(prefix + "attn_q.bias", queryWidth);
        vector(prefix + "attn_k.bias", kvWidth);
        vector(prefix + "attn_v.bias", kvWidth);
      }
      if (spec.features().qkNorm()) {
        vector(prefix + "attn_q_norm.weight", spec.headSize());
        vector(prefix + "attn_k_norm.weight", spec.headSize());
      }
      if (spec.features().postNorms()) {
        vector(prefix + "post_attention_norm.weight", spec.hidden());
        vector(prefix + "post_ffw_norm.weight", spec.hidden());
      }
    }
  }

  private void vector(String name, int size) {
    matrix(name, 1, size);
  }

  private void matrix(String name, int rows, int columns) {
    TensorData tensor = file.tensor(name);
    if (tensor.rows() != rows || tensor.columns() != columns) {
      throw new ModelFileException(
          file.metadata().file() + ": tensor " + name + " has the shape " + tensor.rows() + " x "
              + tensor.columns() + ", " + rows + " x " + columns
              + " is expected; the file is damaged, download it again");
    }
  }
}
