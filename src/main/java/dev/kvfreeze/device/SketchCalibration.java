package dev.kvfreeze.device;

/**
 * What a model's keys and queries are like, by layer and KV head: where sketches spend their bits.
 * Found once for a model, on a text of the engine's own, so that no document's result depends on
 * the documents before it.
 *
 * @param keyVariances {@code [layer * kvHeads + head][headSize]}
 * @param queryEnergies the same, mean over the query heads of the group
 */
public record SketchCalibration(float[][] keyVariances, float[][] queryEnergies) {
  /** For sketches that keep every dimension alike, turned by a random matrix. */
  public static final SketchCalibration NONE =
      new SketchCalibration(new float[0][], new float[0][]);

  public boolean isNone() {
    return keyVariances.length == 0;
  }

  /** The channels of every head, at so many bits a dimension. */
  public SketchChannels[] channels(int bits) {
    SketchChannels[] channels = new SketchChannels[keyVariances.length];
    for (int i = 0; i < channels.length; i++) {
      int codes = SketchChannels.codes(keyVariances[i].length, bits);
      channels[i] = SketchChannels.of(keyVariances[i], queryEnergies[i], codes);
    }
    return channels;
  }
}
