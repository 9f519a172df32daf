package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.tensor.TensorType;
import java.util.List;

/**
 * Where a tensor lies and how it is stored.
 *
 * @param dimensions innermost first, as ggml's {@code ne}
 * @param fileOffset from the beginning of the file, in bytes
 * @param bytes its size
 */
public record GgufTensorInfo(
    String name, TensorType type, List<Long> dimensions, long fileOffset, long bytes) {
  /** Input columns: the innermost dimension. */
  public int columns() {
    return Math.toIntExact(dimensions.get(0));
  }

  /** Output rows: the product of the other dimensions, 1 for a vector. */
  public int rows() {
    return Math.toIntExact(
        dimensions.stream().skip(1).reduce(1L, (Long a, Long b) -> Math.multiplyExact(a, b)));
  }
}
