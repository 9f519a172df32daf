package dev.kvfreeze.cache;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import java.util.UUID;

/**
 * A cold store in one file. The file is created readable and writable by its owner only and is
 * deleted as soon as it is open where the system allows (POSIX), else when it is closed or the
 * process exits, so that a killed executor leaves nothing behind.
 *
 * <p>Pages with neighbouring handles are gathered in a buffer and written together. The buffer is
 * emptied only once it is written, so a full disk loses no page: the page that did not fit is
 * refused, those already taken stay readable.
 */
public final class SpillColdStore implements ColdStore {
  private static final int BUFFER_BYTES = 1 << 20;

  private final Path directory;
  private final int wordsPerPage;
  private final int pageBytes;
  private final long limitBytes;
  private final FileChannel channel;
  private final PageHandles handles = new PageHandles();

  /** Pages {@code [bufferFirst, bufferFirst + bufferCount)}, not yet in the file. */
  private final ByteBuffer buffer;

  private final ByteBuffer page;
  private int bufferFirst;
  private int bufferCount;

  /**
   * Creates the directory where it is missing, and the file in it.
   *
   * @param wordsPerPage 32-bit words of every page
   * @param limitBytes most bytes of pages it holds
   * @throws ColdStoreFullException when the file cannot be made there
   */
  public SpillColdStore(Path directory, int wordsPerPage, long limitBytes) {
    this(directory, wordsPerPage, limitBytes, open(directory));
  }

  private SpillColdStore(Path directory, int wordsPerPage, long limitBytes, FileChannel channel) {
    if (wordsPerPage < 1) {
      throw new IllegalArgumentException("a page has at least one word, found " + wordsPerPage);
    }
    if (limitBytes < 0) {
      throw new IllegalArgumentException("cold store limit is negative: " + limitBytes + " bytes");
    }
    this.directory = directory;
    this.wordsPerPage = wordsPerPage;
    this.pageBytes = Math.multiplyExact(4, wordsPerPage);
    this.limitBytes = limitBytes;
    this.channel = channel;
    this.buffer = ByteBuffer.allocateDirect(Math.max(1, BUFFER_BYTES / pageBytes) * pageBytes);
    this.page = ByteBuffer.allocateDirect(pageBytes);
  }

  /** Over a file that is there, which is not deleted: for tests of failing disks. */
  static SpillColdStore over(Path file, Path directory, int wordsPerPage, long limitBytes) {
    try {
      return new SpillColdStore(
          directory,
          wordsPerPage,
          limitBytes,
          FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE));
    } catch (IOException e) {
      throw new UncheckedIOException("cannot open " + file, e);
    }
  }

  private static FileChannel open(Path directory) {
    try {
      Files.createDirectories(directory);
      Path file = directory.resolve("kvfreeze-" + UUID.randomUUID() + ".spill");
      boolean posix = Files.getFileStore(directory).supportsFileAttributeView("posix");
      FileAttribute<?>[] ownerOnly =
          posix
              ? new FileAttribute<?>[] {
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))
              }
              : new FileAttribute<?>[0];
      // On POSIX systems the JDK unlinks a DELETE_ON_CLOSE file right after opening it.
      return FileChannel.open(
          file,
          Set.of(
              StandardOpenOption.CREATE_NEW,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE,
              StandardOpenOption.DELETE_ON_CLOSE),
          ownerOnly);
    } catch (IOException e) {
      throw new ColdStoreFullException(
          "cannot create a spill file in "
              + directory
              + "; name a writable local directory with spark.local.dir, or"
              + " keep frozen pages in host memory with --set cache.coldStore=memory",
          e);
    }
  }

  @Override
  public long store(int[] words, int offset) {
    if (bytes() + pageBytes > limitBytes) {
      throw ColdStoreFullException.limit(directory.toString(), pageBytes, bytes(), limitBytes);
    }
    int next = handles.next();
    int place = next - bufferFirst;
    boolean rewrites = place >= 0 && place < bufferCount;
    boolean appends = place == bufferCount && (place + 1) * pageBytes <= buffer.capacity();
    if (!rewrites && !appends) {
      flush();
      bufferFirst = next;
      place = 0;
    }
    buffer.slice(place * pageBytes, pageBytes).asIntBuffer().put(words, offset, wordsPerPage);
    bufferCount = Math.max(bufferCount, place + 1);
    return handles.take();
  }

  @Override
  public void load(long handle, int[] words, int offset) {
    int index = handles.check(handle);
    int place = index - bufferFirst;
    if (place >= 0 && place < bufferCount) {
      buffer.slice(place * pageBytes, pageBytes).asIntBuffer().get(words, offset, wordsPerPage);
      return;
    }
    page.clear();
    long position = (long) index * pageBytes;
    try {
      while (page.hasRemaining()) {
        int count = channel.read(page, position + page.position());
        if (count < 0) {
          throw new IOException("the file ends at byte " + channel.size());
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "cannot read bytes "
              + position
              + " to "
              + (position + pageBytes)
              + " of the spill file in "
              + directory
              + "; check the disk, or name another with spark.local.dir",
          e);
    }
    page.flip();
    page.asIntBuffer().get(words, offset, wordsPerPage);
  }

  private void flush() {
    if (bufferCount == 0) {
      return;
    }
    int bytes = bufferCount * pageBytes;
    long position = (long) bufferFirst * pageBytes;
    ByteBuffer source = buffer.slice(0, bytes);
    try {
      while (source.hasRemaining()) {
        channel.write(source, position + source.position());
      }
    } catch (IOException e) {
      throw new ColdStoreFullException(
          "cannot write "
              + bytes
              + " bytes to the spill file in "
              + directory
              + ", where "
              + usableBytes()
              + " bytes are free; make room there, or name another directory with"
              + " spark.local.dir",
          e);
    }
    bufferCount = 0;
  }

  private String usableBytes() {
    try {
      return Long.toString(Files.getFileStore(directory).getUsableSpace());
    } catch (IOException e) {
      return "an unknown number of";
    }
  }

  @Override
  public void release(long handle) {
    handles.release(handle);
    if (handles.live() == 0) {
      bufferCount = 0;
      try {
        channel.truncate(0);
      } catch (IOException e) {
        // The space comes back when the file is closed; nothing is lost by going on.
        return;
      }
    }
  }

  @Override
  public long bytes() {
    return (long) handles.live() * pageBytes;
  }

  @Override
  public long limitBytes() {
    return limitBytes;
  }

  @Override
  public void close() {
    handles.clear();
    bufferCount = 0;
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot close the spill file in " + directory, e);
    }
  }
}
