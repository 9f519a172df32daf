package dev.kvfreeze.model.tensor;

/** How a tensor's values are stored; names, ids and block layouts are those of ggml. */
public enum TensorType {
  F32(0, 1, 4),
  F16(1, 1, 2),
  Q4_0(2, 32, 18),
  Q4_1(3, 32, 20),
  Q5_0(6, 32, 22),
  Q5_1(7, 32, 24),
  Q8_0(8, 32, 34),
  Q4_K(12, 256, 144),
  Q5_K(13, 256, 176),
  Q6_K(14, 256, 210),
  BF16(30, 1, 2);

  private final int ggmlId;
  private final int blockValues;
  private final int blockBytes;

  TensorType(int ggmlId, int blockValues, int blockBytes) {
    this.ggmlId = ggmlId;
    this.blockValues = blockValues;
    this.blockBytes = blockBytes;
  }

  /** The id that GGUF files carry. */
  public int ggmlId() {
    return ggmlId;
  }

  /** Values that share one block. */
  public int blockValues() {
    return blockValues;
  }

  /** Bytes of one block. */
  public int blockBytes() {
    return blockBytes;
  }

  /** Bytes of {@code values} values; {@code values} is a multiple of {@link #blockValues}. */
  public long bytes(long values) {
    return Math.multiplyExact(values / blockValues, blockBytes);
  }
}
