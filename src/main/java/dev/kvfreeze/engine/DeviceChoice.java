package dev.kvfreeze.engine;

/** Which kind of device an engine computes on. */
public enum DeviceChoice {
  /** A GPU where there is a driver and one that may be used, else the CPU. */
  AUTO,
  CPU,
  /** An NVIDIA GPU, or an error that says what is missing. */
  CUDA
}
