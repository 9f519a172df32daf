package dev.kvfreeze.model.tensor;

import dev.kvfreeze.model.ModelFileException;
import java.nio.ByteBuffer;
import java.util.stream.IntStream;

/** Checks of tensor values, fast enough to run at every load. */
public final class TensorChecks {
  /** Blocks that one task scans. */
  private static final int TASK_BLOCKS = 1 << 16;

  private TensorChecks() {}

  /**
   * Refuses a tensor with a NaN or infinite value: one of them turns every text into noise. Of
   * quantised types only the scales are read, the rest are integers. Large tensors are scanned in
   * parallel.
   *
   * @throws ModelFileException naming the tensor and the row
   */
  public static void requireFinite(TensorData tensor) {
    TensorType type = tensor.type();
    int blocks = Math.toIntExact(tensor.bytes().limit() / type.blockBytes());
    int tasks = (blocks + TASK_BLOCKS - 1) / TASK_BLOCKS;
    IntStream range = IntStream.range(0, tasks);
    int bad =
        (tasks > 1 ? range.parallel() : range)
            .map(
                task -> {
                  int first = task * TASK_BLOCKS;
                  return firstBad(tensor, first, Math.min(blocks - first, TASK_BLOCKS) + first);
                })
            .filter(block -> block >= 0)
            .findFirst()
            .orElse(-1);
    if (bad >= 0) {
      long value = (long) bad * type.blockValues();
      throw new ModelFileException(
          "tensor %s (%s) holds NaN or an infinity in row %d at column %d, allowed are finite values; download the model again or take another file"
              .formatted(tensor.name(), type, value / tensor.columns(), value % tensor.columns()));
    }
  }

  /** The first block in {@code [from, to)} that is not finite, or -1. */
  private static int firstBad(TensorData tensor, int from, int to) {
    ByteBuffer bytes = tensor.bytes();
    int stride = tensor.type().blockBytes();
    return switch (tensor.type()) {
      case F32 -> firstBadFloat(bytes, from, to);
      case BF16 -> firstBadBf16(bytes, from, to);
      case F16, Q4_0, Q5_0, Q8_0 -> firstBadHalf(bytes, stride, 0, from, to);
      case Q4_1, Q5_1, Q4_K, Q5_K -> firstBadHalfPair(bytes, stride, from, to);
      case Q6_K -> firstBadHalf(bytes, stride, 208, from, to);
    };
  }

  private static int firstBadFloat(ByteBuffer bytes, int from, int to) {
    for (int b = from; b < to; b++) {
      if (!Float.isFinite(bytes.getFloat(4 * b))) {
        return b;
      }
    }
    return -1;
  }

  private static int firstBadBf16(ByteBuffer bytes, int from, int to) {
    for (int b = from; b < to; b++) {
      if (!HalfPrecision.finiteBf16(bytes.getShort(2 * b))) {
        return b;
      }
    }
    return -1;
  }

  private static int firstBadHalf(ByteBuffer bytes, int stride, int at, int from, int to) {
    for (int b = from; b < to; b++) {
      if (!HalfPrecision.finiteF16(bytes.getShort(stride * b + at))) {
        return b;
      }
    }
    return -1;
  }

  private static int firstBadHalfPair(ByteBuffer bytes, int stride, int from, int to) {
    for (int b = from; b < to; b++) {
      int pair = bytes.getInt(stride * b);
      if (!HalfPrecision.finiteF16(pair) || !HalfPrecision.finiteF16(pair >>> 16)) {
        return b;
      }
    }
    return -1;
  }
}
