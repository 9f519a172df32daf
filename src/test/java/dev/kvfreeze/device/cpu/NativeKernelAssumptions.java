package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assumptions.assumeThat;

/** Whether tests of the kernels in C have any to test. */
final class NativeKernelAssumptions {
  private NativeKernelAssumptions() {}

  /**
   * Skips a test where there are no kernels in C, and where those of a lower level are asked for on
   * a processor that has no higher one: then the ordinary run has tested them already.
   */
  static void assume() {
    assumeThat(NativeLibrary.level()).isNotEqualTo(NativeLevel.NONE);
    boolean limited = System.getProperty(NativeLevel.PROPERTY) != null;
    assumeThat(limited && NativeLibrary.level() == NativeLibrary.processorLevel()).isFalse();
  }

  /** The same where a level's own kernels are not there. */
  static void assume(NativeLevel level) {
    assume();
    assumeThat(NativeLibrary.has(level)).isTrue();
  }
}
