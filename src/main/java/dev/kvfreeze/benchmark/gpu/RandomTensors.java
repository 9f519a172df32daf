package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;

/** Tensors of random values of about the size that a layer's weights have, from a seed. */
final class RandomTensors {
  private final Random random;

  RandomTensors(long seed) {
    this.random = new Random(seed);
  }

  /** A matrix, a vector where it has one row. */
  TensorData matrix(TensorType type, int rows, int columns) {
    int bytes = Math.toIntExact(type.bytes((long) rows * columns));
    byte[] content = new byte[bytes];
    random.nextBytes(content);
    ByteBuffer buffer = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
    for (int at = 0; at < bytes; at += type.blockBytes()) {
      scale(type, buffer, at);
    }
    return new TensorData(
        "random." + rows + "x" + columns + "." + type,
        type,
        rows,
        columns,
        buffer.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN));
  }

  /** Gives a block finite values. */
  private void scale(TensorType type, ByteBuffer buffer, int at) {
    switch (type) {
      case F32 -> buffer.putFloat(at, (float) random.nextGaussian());
      case F16 -> buffer.putShort(at, half());
      case BF16 ->
          buffer.putShort(
              at, (short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16));
      case Q4_0, Q5_0, Q8_0 -> buffer.putShort(at, half());
      case Q4_1, Q5_1 -> {
        buffer.putShort(at, half());
        buffer.putShort(at + 2, half());
      }
      case Q4_K, Q5_K -> {
        buffer.putShort(at, half());
        buffer.putShort(at + 2, half());
      }
      case Q6_K -> buffer.putShort(at + 208, half());
    }
  }

  /** A half between 1/1024 and 1/512, either sign. */
  private short half() {
    return (short) (5 << 10 | random.nextInt(1 << 10) | random.nextInt(2) << 15);
  }
}
