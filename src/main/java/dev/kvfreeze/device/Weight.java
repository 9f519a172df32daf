package dev.kvfreeze.device;

/** A weight matrix or vector resident on the device, in whatever layout its kernels want. */
public interface Weight {
  String name();

  /** Output rows; 1 for a vector. */
  int rows();

  int columns();

  /** Bytes it occupies on the device. */
  long residentBytes();
}
