package dev.kvfreeze.model;

import java.util.List;

/**
 * An architecture as data: everything the one transformer needs to know about a model besides its
 * weights.
 *
 * @param architecture the name in the model file, for example {@code llama}
 * @param contextLength tokens the model was trained for
 * @param hidden width of the residual stream
 * @param feedForward width of the feed-forward layer
 * @param vocabulary rows of the embedding table
 * @param heads query heads
 * @param kvHeads KV heads
 * @param headSize dimensions of a head
 * @param normEpsilon epsilon of every RMS norm
 * @param embeddingScale factor of the embeddings, 1 unless the architecture says otherwise
 * @param activation of the gated feed-forward layer
 * @param layers one for each layer, in order
 * @param features what is present beyond a plain llama
 */
public record ModelSpec(
    String architecture,
    int contextLength,
    int hidden,
    int feedForward,
    int vocabulary,
    int heads,
    int kvHeads,
    int headSize,
    float normEpsilon,
    float embeddingScale,
    GateActivation activation,
    List<LayerSpec> layers,
    Features features) {

  /** The rotary embeddings by layer. */
  public List<Rope> ropes() {
    return layers.stream().map(LayerSpec::rope).toList();
  }

  /** How one layer attends. */
  public record LayerSpec(AttentionShape attention, Rope rope) {}

  /**
   * @param qkvBias attn_q.bias, attn_k.bias and attn_v.bias are present
   * @param qkNorm attn_q_norm and attn_k_norm are present
   * @param postNorms post_attention_norm and post_ffw_norm follow the blocks
   * @param tiedEmbeddings the output matrix is the embedding table
   */
  public record Features(
      boolean qkvBias, boolean qkNorm, boolean postNorms, boolean tiedEmbeddings) {}
}
