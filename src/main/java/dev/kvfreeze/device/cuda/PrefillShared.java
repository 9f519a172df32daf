package dev.kvfreeze.device.cuda;

/** Dynamic shared memory of the prefill attention kernels, as {@code attention.cu} says. */
final class PrefillShared {
  private PrefillShared() {}

  static long attendBytes(int headSize) {
    return 0;
  }

  static long massBytes(int headSize) {
    return 0;
  }
}
