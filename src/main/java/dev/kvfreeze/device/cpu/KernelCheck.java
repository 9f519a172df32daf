package dev.kvfreeze.device.cpu;

/** When a device checks its kernels at the start. Its decode steps are watched either way. */
public enum KernelCheck {
  /** Not where the same check passed lately in the same kind of JVM on the same processor. */
  KEPT,
  /** Every time. */
  FRESH
}
