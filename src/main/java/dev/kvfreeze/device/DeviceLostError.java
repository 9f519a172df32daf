package dev.kvfreeze.device;

/**
 * The device cannot compute any more: a fault in a kernel, a hardware error, a lost driver. An
 * error and no exception, since it is not the present document's: the engine ends, what is in
 * flight is handed back, and another process may use the device again.
 */
public final class DeviceLostError extends Error {
  private static final long serialVersionUID = 1L;

  public DeviceLostError(String message) {
    super(message);
  }
}
