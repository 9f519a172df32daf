package dev.kvfreeze.device.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Locale;

/**
 * A GPU is one process's: each takes most of its memory, so two would fail, or slow each other
 * down, in ways that are hard to tell. A locked file in the host's temporary folder; the system
 * releases it when the process ends, however it ends.
 */
final class GpuClaim implements AutoCloseable {
  private final FileChannel channel;

  private GpuClaim(FileChannel channel) {
    this.channel = channel;
  }

  /**
   * Claims a GPU.
   *
   * @param name unique on the host: its UUID, or that of its MIG instance
   * @throws CudaUnavailableException when another process has it
   */
  static GpuClaim of(String name) {
    Path file =
        Path.of(
            System.getProperty("java.io.tmpdir"),
            "kvfreeze-gpu-" + name.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9-]", "_"));
    try {
      FileChannel channel =
          FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      if (locked(channel)) {
        share(file);
        return new GpuClaim(channel);
      }
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(
          "cannot lock " + file + "; make the temporary folder writable (java.io.tmpdir)", e);
    }
    throw new CudaUnavailableException(
        "GPU "
            + name
            + " is in use by another kvfreeze process of this host ("
            + file
            + " is locked); give each executor a GPU of its own: spark.executor.resource.gpu.amount 1"
            + " and a discovery script, see conf/profiles",
        null);
  }

  private static boolean locked(FileChannel channel) throws IOException {
    try {
      FileLock lock = channel.tryLock();
      return lock != null;
    } catch (OverlappingFileLockException e) {
      return false; // Another engine of this process.
    }
  }

  /** Executors of other users must be able to see the lock. */
  private static void share(Path file) {
    boolean shared = file.toFile().setWritable(true, false);
    if (!shared && !Files.isWritable(file)) {
      throw new UncheckedIOException(new IOException(file + " cannot be made writable for all"));
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot release a GPU", e);
    }
  }
}
