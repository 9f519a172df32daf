package dev.kvfreeze.engine;

import dev.kvfreeze.device.Device;
import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.LanguageModel;
import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.ModelSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * The weights of a transformer, resident on a device. Names are GGUF's. Weights that a model does
 * not have are null; {@link ModelSpec.Features} says which those are.
 */
record TransformerWeights(
    Weight embedding, List<Layer> layers, Weight outputNorm, Weight output, long residentBytes) {

  record Layer(
      Weight attentionNorm,
      Weight query,
      Weight key,
      Weight value,
      Weight queryBias,
      Weight keyBias,
      Weight valueBias,
      Weight queryNorm,
      Weight keyNorm,
      Weight attentionOutput,
      Weight postAttentionNorm,
      Weight feedForwardNorm,
      Weight gate,
      Weight up,
      Weight down,
      Weight postFeedForwardNorm) {}

  static TransformerWeights load(LanguageModel model, Device device) {
    return new Loader(model, device).load();
  }

  private static final class Loader {
    private final LanguageModel model;
    private final Device device;
    private long residentBytes;

    Loader(LanguageModel model, Device device) {
      this.model = model;
      this.device = device;
    }

    TransformerWeights load() {
      ModelSpec spec = model.spec();
      Weight embedding = weight("token_embd.weight");
      List<Layer> layers = new ArrayList<>();
      for (int i = 0; i < spec.layers().size(); i++) {
        layers.add(layer("blk." + i + ".", spec.features()));
      }
      Weight output = spec.features().tiedEmbeddings() ? embedding : weight("output.weight");
      return new TransformerWeights(
          embedding, List.copyOf(layers), weight("output_norm.weight"), output, residentBytes);
    }

    private Layer layer(String prefix, ModelSpec.Features features) {
      boolean bias = features.qkvBias();
      boolean qkNorm = features.qkNorm();
      boolean postNorms = features.postNorms();
      return new Layer(
          weight(prefix + "attn_norm.weight"),
          weight(prefix + "attn_q.weight"),
          weight(prefix + "attn_k.weight"),
          weight(prefix + "attn_v.weight"),
          bias ? weight(prefix + "attn_q.bias") : null,
          bias ? weight(prefix + "attn_k.bias") : null,
          bias ? weight(prefix + "attn_v.bias") : null,
          qkNorm ? weight(prefix + "attn_q_norm.weight") : null,
          qkNorm ? weight(prefix + "attn_k_norm.weight") : null,
          weight(prefix + "attn_output.weight"),
          postNorms ? weight(prefix + "post_attention_norm.weight") : null,
          weight(prefix + "ffn_norm.weight"),
          weight(prefix + "ffn_gate.weight"),
          weight(prefix + "ffn_up.weight"),
          weight(prefix + "ffn_down.weight"),
          postNorms ? weight(prefix + "post_ffw_norm.weight") : null);
    }

    private Weight weight(String name) {
      Weight weight = upload(name);
      residentBytes += weight.residentBytes();
      return weight;
    }

    private Weight upload(String name) {
      try {
        return device.weight(model.tensor(name));
      } catch (IllegalArgumentException e) {
        throw new ModelFileException(model.name() + ": " + e.getMessage(), e);
      }
    }
  }
}
