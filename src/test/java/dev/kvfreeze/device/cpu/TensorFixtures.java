package dev.kvfreeze.device.cpu;

import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import java.util.function.ToIntFunction;

/**
 * Random tensors in the file's own layouts, and their values by a dequantiser that shares no code
 * with the packer: it goes block by block through the formats' definitions (ggml's
 * dequantize_row_*).
 */
final class TensorFixtures {
  private TensorFixtures() {}

  /** With subnormal scales among the others. */
  static TensorData random(TensorType type, int rows, int columns, long seed) {
    return random(type, rows, columns, new Random(seed), TensorFixtures::half);
  }

  /**
   * As model files have them, without subnormal scales: some processors take a hundred cycles for
   * an operation on one, so that speeds would be those of the subnormals.
   */
  static TensorData ordinary(TensorType type, int rows, int columns, long seed) {
    return random(type, rows, columns, new Random(seed), TensorFixtures::normalHalf);
  }

  private static TensorData random(
      TensorType type, int rows, int columns, Random random, ToIntFunction<Random> half) {
    byte[] bytes = new byte[Math.toIntExact(type.bytes((long) rows * columns))];
    random.nextBytes(bytes);
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    for (int at = 0; at < bytes.length; at += type.blockBytes()) {
      switch (type) {
        case F32 -> buffer.putFloat(at, (float) random.nextGaussian());
        case BF16 ->
            buffer.putShort(
                at, (short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16));
        case F16 -> buffer.putShort(at, (short) half.applyAsInt(random));
        case Q4_0, Q5_0, Q8_0 -> buffer.putShort(at, (short) half.applyAsInt(random));
        case Q4_1, Q5_1, Q4_K, Q5_K -> {
          buffer.putShort(at, (short) half.applyAsInt(random));
          buffer.putShort(at + 2, (short) half.applyAsInt(random));
        }
        case Q6_K -> buffer.putShort(at + 208, (short) half.applyAsInt(random));
      }
    }
    return tensor(type, rows, columns, bytes);
  }

  static TensorData tensor(TensorType type, int rows, int columns, byte[] bytes) {
    ByteBuffer buffer = ByteBuffer.wrap(bytes).asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
    return new TensorData("test." + type, type, rows, columns, buffer);
  }

  /** Either sign; one in eight is subnormal, the rest between 2^-6 and 2. */
  private static int half(Random random) {
    return random.nextInt(8) == 0 ? normalHalf(random) & 0x83ff : normalHalf(random);
  }

  private static int normalHalf(Random random) {
    return random.nextInt(2) << 15 | 9 + random.nextInt(7) << 10 | random.nextInt(1024);
  }

  /** The values, {@code rows * columns}. */
  static float[] dequantize(TensorData tensor) {
    int count = tensor.rows() * tensor.columns();
    float[] values = new float[count];
    ByteBuffer bytes = tensor.bytes().duplicate().order(ByteOrder.LITTLE_ENDIAN);
    int size = tensor.type().blockValues();
    for (int i = 0; i < count; i++) {
      values[i] = value(tensor.type(), bytes, i / size * tensor.type().blockBytes(), i % size);
    }
    return values;
  }

  private static float value(TensorType type, ByteBuffer b, int at, int i) {
    return switch (type) {
      case F32 -> b.getFloat(at);
      case BF16 -> Float.intBitsToFloat(b.getShort(at) << 16);
      case F16 -> halfAt(b, at);
      case Q4_0 -> halfAt(b, at) * (nibble(b, at + 2, i) - 8);
      case Q4_1 -> Math.fma(halfAt(b, at), (float) nibble(b, at + 4, i), halfAt(b, at + 2));
      case Q5_0 -> halfAt(b, at) * ((nibble(b, at + 6, i) | bit(b.getInt(at + 2), i)) - 16);
      case Q5_1 ->
          Math.fma(
              halfAt(b, at),
              (float) (nibble(b, at + 8, i) | bit(b.getInt(at + 4), i)),
              halfAt(b, at + 2));
      case Q8_0 -> halfAt(b, at) * b.get(at + 2 + i);
      case Q4_K -> kValue(b, at, i, superNibble(b, at + 16, i));
      case Q5_K -> {
        int high = b.get(at + 16 + i % 32) >>> (i / 32) & 1;
        yield kValue(b, at, i, superNibble(b, at + 48, i) | high << 4);
      }
      case Q6_K -> {
        // Two halves of 128 values; each has four runs of 32.
        int half = i / 128;
        int run = i % 128 / 32;
        int column = i % 32;
        int low = b.get(at + half * 64 + (run & 1) * 32 + column) & 0xff;
        int high = b.get(at + 128 + half * 32 + column) & 0xff;
        int quant = (run < 2 ? low & 15 : low >> 4) | (high >> 2 * run & 3) << 4;
        yield halfAt(b, at + 208) * b.get(at + 192 + i / 16) * (quant - 32);
      }
    };
  }

  private static int nibble(ByteBuffer b, int at, int i) {
    return i < 16 ? b.get(at + i) & 15 : (b.get(at + i - 16) & 0xff) >> 4;
  }

  private static int bit(int word, int i) {
    return (word >>> i & 1) << 4;
  }

  private static int superNibble(ByteBuffer b, int at, int i) {
    int value = b.get(at + i / 64 * 32 + i % 32) & 0xff;
    return i % 64 < 32 ? value & 15 : value >> 4;
  }

  private static float kValue(ByteBuffer b, int at, int i, int quant) {
    int sub = i / 32;
    int[] q = new int[12];
    for (int j = 0; j < 12; j++) {
      q[j] = b.get(at + 4 + j) & 0xff;
    }
    int scale = sub < 4 ? q[sub] & 63 : q[sub + 4] & 15 | q[sub - 4] >> 6 << 4;
    int minimum = sub < 4 ? q[sub + 4] & 63 : q[sub + 4] >> 4 | q[sub] >> 6 << 4;
    return Math.fma(halfAt(b, at) * scale, (float) quant, -(halfAt(b, at + 2) * minimum));
  }

  /** By the definition: (1 + m / 1024) * 2^(e - 15), and m / 1024 * 2^-14 for e = 0. */
  private static float halfAt(ByteBuffer b, int at) {
    int bits = b.getShort(at) & 0xffff;
    int exponent = bits >> 10 & 31;
    double mantissa = (bits & 1023) / 1024.0;
    double magnitude =
        exponent == 0 ? mantissa * 0x1p-14 : (1 + mantissa) * Math.pow(2, exponent - 15);
    return (float) (bits >> 15 == 0 ? magnitude : -magnitude);
  }

  static float[] activations(int length, long seed) {
    Random random = new Random(seed);
    float[] x = new float[length];
    for (int i = 0; i < length; i++) {
      x[i] = (float) random.nextGaussian();
    }
    return x;
  }
}
