package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.Weight;
import dev.kvfreeze.model.tensor.TensorType;

/**
 * A weight in device memory: a matrix in the tiles of {@code src/main/cuda/README.md}, or a vector
 * of floats.
 */
record CudaWeight(
    String name, int rows, int columns, TensorType type, long address, long residentBytes)
    implements Weight {

  static CudaWeight of(Weight weight) {
    return (CudaWeight) weight;
  }

  /** Whether decode products multiply it by activations rounded to 8 bits. */
  boolean quantized() {
    return type != TensorType.F32 && type != TensorType.F16 && type != TensorType.BF16;
  }
}
