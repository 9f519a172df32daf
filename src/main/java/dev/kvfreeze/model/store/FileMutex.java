package dev.kvfreeze.model.store;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Mutual exclusion of threads and processes by a lock file. The system releases it at exit. */
final class FileMutex implements AutoCloseable {
  private static final long POLL_MILLIS = 50;

  private final FileChannel channel;

  private FileMutex(FileChannel channel) {
    this.channel = channel;
  }

  /** Waits until nobody else holds the lock, however long a download takes. */
  static FileMutex acquire(Path path) throws IOException {
    Files.createDirectories(path.getParent());
    // One channel for all attempts: closing one frees the locks of every other of this process.
    FileChannel channel =
        FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    try {
      while (!tryLock(channel)) {
        Thread.sleep(POLL_MILLIS);
      }
      return new FileMutex(channel);
    } catch (InterruptedException e) {
      channel.close();
      Thread.currentThread().interrupt();
      throw new ModelFileException("interrupted while waiting for " + path + "; start again", e);
    } catch (IOException e) {
      channel.close();
      throw e;
    }
  }

  private static boolean tryLock(FileChannel channel) throws IOException {
    try {
      FileLock lock = channel.tryLock();
      return lock != null;
    } catch (OverlappingFileLockException e) {
      return false; // Another thread of this process.
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
