package dev.kvfreeze.device.cuda;

/**
 * What the driver says about a GPU.
 *
 * @param ordinal its number among the visible ones
 * @param name for example {@code NVIDIA H100 80GB HBM3}
 * @param major of the compute capability
 * @param minor of the compute capability
 * @param multiprocessors streaming multiprocessors
 * @param totalBytes device memory
 * @param sharedBytesPerBlock most dynamic shared memory of a block, with permission
 * @param uuid as {@code nvidia-smi -L} prints it, without {@code GPU-}
 * @param driverVersion CUDA version of the driver, 12060 for 12.6
 */
record GpuProperties(
    int ordinal,
    String name,
    int major,
    int minor,
    int multiprocessors,
    long totalBytes,
    int sharedBytesPerBlock,
    String uuid,
    int driverVersion) {

  /** For example {@code sm_90}. */
  String architecture() {
    return "sm_" + major + minor;
  }
}
