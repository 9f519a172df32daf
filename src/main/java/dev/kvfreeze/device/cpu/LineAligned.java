package dev.kvfreeze.device.cpu;

/**
 * Scratch whose vectors begin at cache lines: a register of 512 bits that crosses a line costs two
 * reads, a tenth of a product's time. An array this long gets regions of its own from the G1
 * collector, which begin at lines, and its elements begin 16 bytes later; with other collectors it
 * is an array like any other.
 */
final class LineAligned {
  /** The first element that begins a cache line; sizes and strides are multiples of 16. */
  static final int FIRST = 12;

  /** Half a region of a heap of 16 GiB. */
  private static final int OWN_REGIONS = 1 << 20;

  private LineAligned() {}

  /** An array of at least {@code length} elements from {@link #FIRST} on. */
  static float[] floats(int length) {
    return new float[Math.max(OWN_REGIONS, FIRST + length)];
  }
}
