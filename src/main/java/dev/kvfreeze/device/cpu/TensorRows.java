package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.tensor.HalfPrecision;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;

/** Reads a tensor's rows one at a time; one thread's. */
final class TensorRows {
  private final TensorData tensor;
  private final ByteBuffer source;
  private final byte[] bytes;
  private int row;

  TensorRows(TensorData tensor) {
    this.tensor = tensor;
    this.source = tensor.bytes();
    this.bytes = new byte[Math.toIntExact(tensor.type().bytes(tensor.columns()))];
  }

  /** Reads a row's bytes. */
  TensorRows read(int row) {
    this.row = row;
    // Absolute: the buffer's position is shared with other threads.
    source.get(Math.multiplyExact(row, bytes.length), bytes);
    return this;
  }

  /** The bytes of the row that was read last. */
  byte[] bytes() {
    return bytes;
  }

  /** The row that was read last, as float32. */
  TensorRows toFloats(float[] values) {
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (tensor.type()) {
            case F32 -> Float.intBitsToFloat(word(bytes, 4 * i));
            case BF16 -> Float.intBitsToFloat(half(bytes, 2 * i) << 16);
            case F16 -> HalfPrecision.f16(half(bytes, 2 * i));
            default ->
                throw new IllegalArgumentException(
                    "tensor "
                        + tensor.name()
                        + " is stored as "
                        + tensor.type()
                        + "; a vector needs "
                        + TensorType.F32
                        + ", "
                        + TensorType.F16
                        + " or "
                        + TensorType.BF16);
          };
      requireFinite(values[i]);
    }
    return this;
  }

  /** Refuses a value, or a sum of them, that is NaN or infinite. */
  void requireFinite(float value) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException(
          "tensor "
              + tensor.name()
              + ", row "
              + row
              + ": a value or scale is not a finite number; the model file is damaged, download it"
              + " again");
    }
  }

  static int word(byte[] bytes, int at) {
    return half(bytes, at) | half(bytes, at + 2) << 16;
  }

  private static int half(byte[] bytes, int at) {
    return bytes[at] & 0xff | (bytes[at + 1] & 0xff) << 8;
  }
}
