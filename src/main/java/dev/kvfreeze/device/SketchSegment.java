package dev.kvfreeze.device;

/**
 * One row of queries and the sketches of the layer that it is scored against.
 *
 * @param row in the activations
 * @param position of the row's token in the sequence
 * @param heads sketches by KV head
 */
public record SketchSegment(int row, int position, KeySketches[] heads) {}
