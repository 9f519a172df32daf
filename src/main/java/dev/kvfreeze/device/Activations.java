package dev.kvfreeze.device;

/** A float32 matrix on the device, row-major; the buffer a forward pass works in. */
public interface Activations {
  int rows();

  int columns();
}
