package dev.kvfreeze.device.cuda;

/** A call of the CUDA driver failed and left the context usable. */
final class CudaException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int result;

  /**
   * @param result the driver's {@code CUresult}
   */
  CudaException(int result, String message) {
    super(message);
    this.result = result;
  }

  int result() {
    return result;
  }
}
