package dev.kvfreeze.device.cuda;

import dev.kvfreeze.device.Activations;
import dev.kvfreeze.device.LogitStatistics;

/**
 * A float32 matrix in device memory, and room for its values as bfloat16, which the products of
 * prefill read. Knows what has been made of its present content.
 */
final class CudaActivations implements Activations {
  private final int rows;
  private final int columns;
  private final long address;
  private final long bf16Address;

  /** Whether the bfloat16 values are those of the present content, for this many rows. */
  int roundedRows;

  /** Rows that the newest operation wrote. */
  int writtenRows;

  /** Statistics of the present content's rows, or null. */
  LogitStatistics[] statistics;

  CudaActivations(int rows, int columns, long address, long bf16Address) {
    this.rows = rows;
    this.columns = columns;
    this.address = address;
    this.bf16Address = bf16Address;
  }

  static CudaActivations of(Activations activations) {
    if (activations instanceof CudaActivations cuda) {
      return cuda;
    }
    throw new IllegalArgumentException(
        "these activations belong to another device: " + activations.getClass().getName());
  }

  @Override
  public int rows() {
    return rows;
  }

  @Override
  public int columns() {
    return columns;
  }

  long address() {
    return address;
  }

  long address(int row) {
    return address + 4L * row * columns;
  }

  /** Where the bfloat16 values are; 0 where there is no room for them. */
  long bf16Address() {
    return bf16Address;
  }

  /** The content is new. */
  void written(int count) {
    writtenRows = count;
    roundedRows = 0;
    statistics = null;
  }
}
