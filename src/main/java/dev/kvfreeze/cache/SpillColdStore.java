package dev.kvfreeze.cache;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/**
 * Frozen pages in one file of a local directory, readable by its owner only, whose name is removed as
 * soon as it is open: the space is free again however the process ends.
 */
public final class SpillColdStore implements ColdStore {
  private final Path directory;
  private final int pageBytes;
  private final long limitBytes;
  private final HandleList handles;
  private final FileChannel channel;
  private final ByteBuffer buffer;
  private final IntBuffer bufferWords;

  /**
   * @param directory an existing or creatable local directory
   * @throws ColdStoreFullException when the file cannot be made there
   */
  public SpillColdStore(Path directory, int pageWords, long limitBytes) {
    this.directory = directory;
    this.pageBytes = 4 * pageWords;
    this.limitBytes = limitBytes;
    this.handles = new HandleList(limitBytes / pageBytes);
    this.buffer = ByteBuffer.allocateDirect(pageBytes).order(ByteOrder.nativeOrder());
    this.bufferWords = buffer.asIntBuffer();
    this.channel = open(directory);
  }

  private static FileChannel open(Path directory) {
    try {
      Files.createDirectories(directory);
      Path file =
          Files.createTempFile(
              directory,
              "kvfreeze-",
              ".pages",
              PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      FileChannel channel =
          FileChannel.open(file, Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE));
      Files.delete(file);
      return channel;
    } catch (IOException e) {
      throw new ColdStoreFullException(
          "no spill file can be made in " + directory + " (" + e
              + "); give a writable local directory or set cold.store=memory",
          e);
    }
  }

  @Override
  public long store(int[] words, int offset) {
    long handle = handles.acquire();
    if (handle < 0) {
      throw new ColdStoreFullException(
          "the spill file in " + directory + " has reached " + limitBytes
              + " bytes; raise cold.bytes");
    }
    bufferWords.clear().put(words, offset, pageBytes / 4);
    buffer.clear();
    try {
      long position = handle * pageBytes;
      while (buffer.hasRemaining()) {
        channel.write(buffer, position + buffer.position());
      }
    } catch (IOException e) {
      handles.release(handle);
      throw new ColdStoreFullException(
          "a page of " + pageBytes + " bytes cannot be written to the spill file in " + directory
              + ", which has " + freeBytes() + " bytes free (" + e.getMessage()
              + "); free some, or name another directory with spark.local.dir",
          e);
    }
    return handle;
  }

  private long freeBytes() {
    try {
      return Files.getFileStore(directory).getUsableSpace();
    } catch (IOException e) {
      return -1;
    }
  }

  @Override
  public void load(long handle, int[] words, int offset) {
    buffer.clear();
    try {
      long position = handle * pageBytes;
      while (buffer.hasRemaining()) {
        if (channel.read(buffer, position + buffer.position()) < 0) {
          throw new IOException("the spill file in " + directory + " became shorter");
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    bufferWords.clear().get(words, offset, pageBytes / 4);
  }

  @Override
  public void release(long handle) {
    handles.release(handle);
  }

  @Override
  public long bytes() {
    return handles.used() * pageBytes;
  }

  @Override
  public long limitBytes() {
    return limitBytes;
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
