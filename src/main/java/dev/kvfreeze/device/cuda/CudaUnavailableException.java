package dev.kvfreeze.device.cuda;

/** There is no usable CUDA driver or GPU here; the message says what is missing. */
public final class CudaUnavailableException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  CudaUnavailableException(String message, Throwable cause) {
    super(message, cause);
  }
}
