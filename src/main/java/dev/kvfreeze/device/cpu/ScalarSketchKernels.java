package dev.kvfreeze.device.cpu;

import dev.kvfreeze.device.KeySketches;
import java.util.Arrays;

/** {@link SketchKernels} in plain Java. */
final class ScalarSketchKernels implements SketchKernels {
  private static final int BLOCK = KeySketches.BLOCK_TOKENS;

  @Override
  public void products1(
      int[] bits,
      int at,
      int headSize,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to) {
    int codes = Integer.SIZE / planes;
    int code = (1 << planes) - 1;
    Arrays.fill(products, to, to + BLOCK, 0f);
    for (int d = 0; d < headSize; d++) {
      int mask = code << d % codes * planes;
      int word = at + d / codes * BLOCK;
      float factor = query[queryAt + d];
      for (int t = 0; t < BLOCK; t++) {
        products[to + t] += factor * (bits[word + t] & mask);
      }
    }
  }

  @Override
  public void products3(
      int[] bits,
      int at,
      int headSize,
      int planes,
      float[] query,
      int queryAt,
      float[] products,
      int to,
      int stride) {
    for (int g = 0; g < TOGETHER; g++) {
      products1(
          bits, at, headSize, planes, query, queryAt + g * headSize, products, to + g * stride);
    }
  }
}
