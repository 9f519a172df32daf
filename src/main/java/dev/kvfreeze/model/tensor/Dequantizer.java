package dev.kvfreeze.model.tensor;

import java.nio.ByteBuffer;

/**
 * The values of a tensor as float32, exactly as ggml's reference routines ({@code ggml-quants.c})
 * give them: the same products in the same order, each rounded once. Scalar and plain: what kernels
 * are tested against.
 */
public final class Dequantizer {
  private Dequantizer() {}

  /**
   * Writes row {@code row} of a tensor, {@code tensor.columns()} values, to {@code out} from {@code
   * offset}.
   */
  public static void dequantize(TensorData tensor, int row, float[] out, int offset) {
    TensorType type = tensor.type();
    ByteBuffer bytes = tensor.bytes();
    int at = Math.toIntExact(type.bytes((long) row * tensor.columns()));
    int blocks = tensor.columns() / type.blockValues();
    for (int b = 0; b < blocks; b++) {
      block(type, bytes, at + b * type.blockBytes(), out, offset + b * type.blockValues());
    }
  }

  private static void block(TensorType type, ByteBuffer bytes, int at, float[] out, int to) {
    switch (type) {
      case F32 -> out[to] = bytes.getFloat(at);
      case F16 -> out[to] = HalfPrecision.f16(bytes.getShort(at));
      case BF16 -> out[to] = HalfPrecision.bf16(bytes.getShort(at));
      case Q4_0 -> SmallBlocks.q40(bytes, at, out, to);
      case Q4_1 -> SmallBlocks.q41(bytes, at, out, to);
      case Q5_0 -> SmallBlocks.q50(bytes, at, out, to);
      case Q5_1 -> SmallBlocks.q51(bytes, at, out, to);
      case Q8_0 -> SmallBlocks.q80(bytes, at, out, to);
      case Q4_K -> SuperBlocks.q4k(bytes, at, out, to);
      case Q5_K -> SuperBlocks.q5k(bytes, at, out, to);
      case Q6_K -> SuperBlocks.q6k(bytes, at, out, to);
    }
  }
}
