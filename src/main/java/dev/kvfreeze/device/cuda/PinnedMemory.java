package dev.kvfreeze.device.cuda;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Page-locked host memory: the only kind that copies beside computing.
 *
 * @param address valid on the host and on the device
 * @param bytes its size
 * @param buffers its contents, in pieces of {@link #PIECE_BYTES} but the last
 * @param handle the driver's own
 */
record PinnedMemory(long address, long bytes, ByteBuffer[] buffers, Object handle) {
  /** A Java buffer holds less than 2 GiB. */
  static final long PIECE_BYTES = 1L << 30;

  /** A view of a range that does not cross a multiple of {@link #PIECE_BYTES}; little-endian. */
  ByteBuffer view(long offset, int length) {
    ByteBuffer piece = buffers[(int) (offset / PIECE_BYTES)];
    return piece.slice((int) (offset % PIECE_BYTES), length).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** All of it; for sizes up to {@link #PIECE_BYTES}. */
  ByteBuffer view() {
    return view(0, Math.toIntExact(bytes));
  }
}
