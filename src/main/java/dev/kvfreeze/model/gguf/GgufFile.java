package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.tensor.TensorData;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * An open GGUF file: its head read and checked, its tensors mapped one by one when they are asked
 * for, so that files of any size work. Tensors already handed out stay readable after {@link
 * #close}. The file must not be changed while it is open. Safe for use by several threads.
 */
public final class GgufFile implements AutoCloseable {
  private final Path path;
  private final FileChannel channel;
  private final long bytes;
  private final GgufHeader header;
  private final Map<String, TensorData> mapped = new ConcurrentHashMap<>();

  private GgufFile(Path path, FileChannel channel, long bytes, GgufHeader header) {
    this.path = path;
    this.channel = channel;
    this.bytes = bytes;
    this.header = header;
  }

  /**
   * Opens a file and checks its head.
   *
   * @throws ModelFileException when it cannot be read, or is no sound GGUF file
   */
  public static GgufFile open(Path path) {
    if (!Files.isRegularFile(path)) {
      String found = Files.exists(path) ? "is not a regular file" : "does not exist";
      throw new ModelFileException(path + ": the model file " + found + "; check the path");
    }
    FileChannel channel = null;
    try {
      channel = FileChannel.open(path, StandardOpenOption.READ);
      long bytes = channel.size();
      ByteBuffer head =
          channel
              .map(MapMode.READ_ONLY, 0, Math.min(bytes, Integer.MAX_VALUE))
              .order(ByteOrder.LITTLE_ENDIAN);
      String name = path.getFileName().toString();
      GgufHeader header = GgufHeader.read(name, new GgufCursor(name, head, bytes), bytes);
      GgufFile file = new GgufFile(path, channel, bytes, header);
      channel = null;
      return file;
    } catch (IOException e) {
      throw new ModelFileException(
          path + ": the model file cannot be read: " + e + "; check its permissions", e);
    } finally {
      closeQuietly(channel);
    }
  }

  public Path path() {
    return path;
  }

  /** Size of the file in bytes. */
  public long bytes() {
    return bytes;
  }

  public GgufMetadata metadata() {
    return header.metadata();
  }

  /** Every tensor by name, in the file's order. */
  public Map<String, GgufTensorInfo> tensors() {
    return header.tensors();
  }

  public Set<String> tensorNames() {
    return header.tensors().keySet();
  }

  /**
   * A tensor's values, mapped.
   *
   * @throws ModelFileException naming file and tensor when it is missing
   */
  public TensorData tensor(String name) {
    return mapped.computeIfAbsent(name, this::map);
  }

  private TensorData map(String name) {
    GgufTensorInfo info = header.tensors().get(name);
    if (info == null) {
      throw new ModelFileException(
          "%s: tensor %s is missing, the file has %d others; convert the model again"
              .formatted(path.getFileName(), name, header.tensors().size()));
    }
    try {
      ByteBuffer values = channel.map(MapMode.READ_ONLY, info.fileOffset(), info.bytes());
      return new TensorData(
          name, info.type(), info.rows(), info.columns(), values.order(ByteOrder.LITTLE_ENDIAN));
    } catch (IOException e) {
      throw new ModelFileException(
          "%s: tensor %s cannot be mapped: %s; check memory limits (ulimit -v)"
              .formatted(path, name, e),
          e);
    }
  }

  @Override
  public void close() {
    closeQuietly(channel);
  }

  private static void closeQuietly(FileChannel channel) {
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        // Opened for reading only: nothing can be lost.
      }
    }
  }
}
