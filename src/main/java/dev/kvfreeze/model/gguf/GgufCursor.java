package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.ModelFileException;
import java.nio.ByteBuffer;

/** Reads the head of a GGUF file; nothing is read or allocated past the end of the file. */
final class GgufCursor {
  private final String fileName;
  private final ByteBuffer head;
  private final long fileBytes;

  /**
   * @param head the file's first bytes, little-endian: all of it or as much as one buffer maps
   * @param fileBytes size of the whole file
   */
  GgufCursor(String fileName, ByteBuffer head, long fileBytes) {
    this.fileName = fileName;
    this.head = head;
    this.fileBytes = fileBytes;
  }

  long position() {
    return head.position();
  }

  int readByte(String what) {
    need(1, what);
    return head.get();
  }

  int readShort(String what) {
    need(2, what);
    return head.getShort();
  }

  int readInt(String what) {
    need(4, what);
    return head.getInt();
  }

  long readLong(String what) {
    need(8, what);
    return head.getLong();
  }

  /**
   * A count of items that each take at least {@code itemBytes} bytes of what is left of the file.
   */
  int readCount(int itemBytes, String what) {
    long count = readLong(what);
    if (count < 0 || count > head.remaining() / itemBytes) {
      throw failure(
          "%s is %s at byte %d, but the %d bytes left hold at most %d"
              .formatted(
                  what,
                  Long.toUnsignedString(count),
                  position() - 8,
                  head.remaining(),
                  head.remaining() / itemBytes));
    }
    return (int) count;
  }

  /** A string: its length in 8 bytes, then its bytes. */
  byte[] readBytes(String what) {
    byte[] bytes = new byte[readCount(1, "length of " + what)];
    head.get(bytes);
    return bytes;
  }

  /** The next {@code bytes} bytes as a view, which are then skipped. */
  ByteBuffer view(int bytes) {
    ByteBuffer view = head.slice(head.position(), bytes).order(head.order());
    head.position(head.position() + bytes);
    return view;
  }

  /** Of a damaged file. */
  ModelFileException failure(String what) {
    return failure(what, "download the file again");
  }

  ModelFileException failure(String what, String remedy) {
    return new ModelFileException(fileName + ": " + what + "; " + remedy);
  }

  private void need(int bytes, String what) {
    if (head.remaining() < bytes) {
      throw failure(
          "truncated: %s needs %d bytes at byte %d, the file has %d"
              .formatted(what, bytes, position(), fileBytes));
    }
  }
}
