package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;

/**
 * Little-endian reading of an untrusted file: nothing is allocated for a length that the rest of the
 * file could not hold.
 */
final class BoundedReader {
  private static final int WINDOW_BYTES = 1 << 20;

  private final String file;
  private final FileChannel channel;
  private final long size;
  private final ByteBuffer window =
      ByteBuffer.allocate(WINDOW_BYTES).order(ByteOrder.LITTLE_ENDIAN).limit(0);
  private long windowStart;

  BoundedReader(String file, FileChannel channel) throws IOException {
    this.file = file;
    this.channel = channel;
    this.size = channel.size();
  }

  long size() {
    return size;
  }

  long position() {
    return windowStart + window.position();
  }

  long remaining() {
    return size - position();
  }

  int readInt() throws IOException {
    return need(4).getInt();
  }

  long readLong() throws IOException {
    return need(8).getLong();
  }

  byte readByte() throws IOException {
    return need(1).get();
  }

  short readShort() throws IOException {
    return need(2).getShort();
  }

  /** A count of things of at least {@code leastBytes} bytes each, which must still fit the file. */
  int readCount(String what, int leastBytes) throws IOException {
    long count = readLong();
    if (count < 0 || count > remaining() / leastBytes || count > Integer.MAX_VALUE - 16) {
      throw new ModelFileException(
          file + ": " + what + " claims " + Long.toUnsignedString(count) + " entries at byte "
              + (position() - 8) + ", the file has " + remaining()
              + " bytes left; it is damaged or cut off, download it again");
    }
    return (int) count;
  }

  byte[] readString(String what) throws IOException {
    byte[] bytes = new byte[readCount(what, 1)];
    int done = 0;
    while (done < bytes.length) {
      int part = Math.min(bytes.length - done, WINDOW_BYTES);
      need(part).get(bytes, done, part);
      done += part;
    }
    return bytes;
  }

  private ByteBuffer need(int bytes) throws IOException {
    if (window.remaining() < bytes) {
      if (remaining() < bytes) {
        throw new ModelFileException(
            file + ": ends at byte " + size + " where " + bytes + " more bytes are expected at "
                + position() + "; it is cut off, download it again");
      }
      windowStart += window.position();
      window.clear();
      window.limit((int) Math.min(WINDOW_BYTES, size - windowStart));
      while (window.hasRemaining()) {
        if (channel.read(window, windowStart + window.position()) < 0) {
          throw new ModelFileException(file + ": became shorter while it was read; try again");
        }
      }
      window.flip();
    }
    return window;
  }
}
