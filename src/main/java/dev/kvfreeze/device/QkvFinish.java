package dev.kvfreeze.device;

import dev.kvfreeze.model.AttentionShape;
import dev.kvfreeze.model.Rope;
import java.util.List;

/**
 * What a layer does with queries, keys and values after their products. What a model does not have
 * is null.
 *
 * @param queryNorm gain of the norm of each head, as {@code keyNorm}
 * @param queryFactors what each column is multiplied by, as {@code keyFactors}: see {@link
 *     KeySmoothing}
 */
public record QkvFinish(
    Weight queryBias,
    Weight keyBias,
    Weight valueBias,
    Weight queryNorm,
    Weight keyNorm,
    float epsilon,
    float[] queryFactors,
    float[] keyFactors,
    Rope rope) {
  /**
   * What {@link Device#finishQkv} does, one operation after the other: afterwards keys and values
   * too are finished in place.
   */
  public void inSingleOperations(
      Device device,
      QkvRows qkv,
      AttentionShape shape,
      PageMemory memory,
      List<AttentionSegment> segments) {
    int rows = qkv.rows();
    if (queryBias != null) {
      device.addBias(qkv.query(), rows, queryBias);
      device.addBias(qkv.key(), rows, keyBias);
      device.addBias(qkv.value(), rows, valueBias);
    }
    int headSize = shape.headSize();
    if (queryNorm != null) {
      device.rmsNormHeads(qkv.query(), rows, headSize, queryNorm, epsilon);
      device.rmsNormHeads(qkv.key(), rows, headSize, keyNorm, epsilon);
    }
    if (queryFactors != null) {
      device.scaleColumns(qkv.query(), rows, queryFactors);
      device.scaleColumns(qkv.key(), rows, keyFactors);
    }
    device.rope(qkv.query(), rows, headSize, rope, qkv.positions());
    device.rope(qkv.key(), rows, headSize, rope, qkv.positions());
    device.writeKv(qkv.key(), qkv.value(), shape, memory, segments);
  }
}
