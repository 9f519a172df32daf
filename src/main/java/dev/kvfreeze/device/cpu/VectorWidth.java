package dev.kvfreeze.device.cpu;

import jdk.incubator.vector.FloatVector;

/** Asks the Vector API for its width; touched only when the module is known to be there. */
final class VectorWidth {
  private VectorWidth() {}

  /** Bits of the widest float vector this CPU computes with at full speed. */
  static int preferredBits() {
    return Math.min(512, FloatVector.SPECIES_PREFERRED.vectorBitSize());
  }
}
