package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.tensor.TensorData;
import dev.kvfreeze.model.tensor.TensorType;
import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * A GGUF file, version 2 or 3: metadata read, tensors mapped on demand. Every count, length, offset
 * and size is checked against the file before it is used.
 */
public final class GgufFile implements AutoCloseable {
  private static final int MAGIC = 0x46554747;
  private static final int MAX_DIMENSIONS = 4;

  /** Values of an array of arrays are not used by any language model and are refused. */
  private static final int TYPE_ARRAY = 9;

  private final Path path;
  private final FileChannel channel;
  private final GgufMetadata metadata;
  private final Map<String, Entry> tensors;

  private record Entry(TensorType type, long rows, long columns, long offset, long bytes) {}

  private GgufFile(
      Path path, FileChannel channel, GgufMetadata metadata, Map<String, Entry> tensors) {
    this.path = path;
    this.channel = channel;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /**
   * Opens and checks a file.
   *
   * @throws ModelFileException naming the file, what is wrong and the remedy
   */
  public static GgufFile open(Path path) {
    FileChannel channel = null;
    try {
      channel = FileChannel.open(path, StandardOpenOption.READ);
      return parse(path, channel);
    } catch (IOException e) {
      closeQuietly(channel);
      throw new ModelFileException(
          path + ": cannot be read (" + e + "); check the path and its permissions", e);
    } catch (RuntimeException e) {
      closeQuietly(channel);
      throw e;
    }
  }

  private static void closeQuietly(FileChannel channel) {
    if (channel != null) {
      try {
        channel.close();
      } catch (IOException e) {
        // The failure that led here is the one to report.
      }
    }
  }

  private static GgufFile parse(Path path, FileChannel channel) throws IOException {
    String name = path.getFileName().toString();
    BoundedReader in = new BoundedReader(name, channel);
    requireHeader(name, in);
    int tensorCount = in.readCount("the tensor table", 24);
    int keyCount = in.readCount("the metadata", 12);
    Map<String, Object> values = new HashMap<>();
    for (int i = 0; i < keyCount; i++) {
      String key = text(in.readString("a metadata key"));
      if (values.put(key, readValue(name, in, key, in.readInt())) != null) {
        throw new ModelFileException(
            name + ": the key " + key + " is there twice; the file is damaged, download it again");
      }
    }
    GgufMetadata metadata = new GgufMetadata(name, values);
    Map<String, long[]> table = new LinkedHashMap<>();
    for (int i = 0; i < tensorCount; i++) {
      readTensorInfo(name, in, table);
    }
    long alignment = metadata.integerOr("general.alignment", 32);
    if (alignment < 1 || alignment > 1 << 20) {
      throw new ModelFileException(
          name + ": general.alignment is " + alignment + ", 1 to 1048576 is possible");
    }
    long dataStart = (in.position() + alignment - 1) / alignment * alignment;
    Map<String, Entry> tensors = new LinkedHashMap<>();
    table.forEach((key, info) -> tensors.put(key, entry(name, key, info, dataStart, in.size())));
    return new GgufFile(path, channel, metadata, tensors);
  }

  private static void requireHeader(String name, BoundedReader in) throws IOException {
    if (in.size() < 24) {
      throw new ModelFileException(
          name + ": has " + in.size() + " bytes, a GGUF has at least 24; download it again");
    }
    int magic = in.readInt();
    if (magic != MAGIC) {
      throw new ModelFileException(
          name + ": does not begin with the magic GGUF (found 0x" + Integer.toHexString(magic)
              + "); give a .gguf model file");
    }
    int version = in.readInt();
    if (version != 2 && version != 3) {
      boolean swapped = Integer.reverseBytes(version) == 2 || Integer.reverseBytes(version) == 3;
      throw new ModelFileException(
          name + ": GGUF version " + Integer.toUnsignedString(version) + " is not supported, 2 and 3 are"
              + (swapped ? "; the file is big-endian, take the little-endian one" : ""));
    }
  }

  private static void readTensorInfo(String name, BoundedReader in, Map<String, long[]> table)
      throws IOException {
    String tensor = text(in.readString("a tensor's name"));
    int dimensions = in.readInt();
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      throw new ModelFileException(
          name + ": tensor " + tensor + " has " + Integer.toUnsignedString(dimensions)
              + " dimensions, 1 to 4 are possible; the file is damaged, download it again");
    }
    long columns = in.readLong();
    long rows = 1;
    boolean positive = columns > 0;
    for (int d = 1; d < dimensions; d++) {
      long size = in.readLong();
      positive &= size > 0 && size <= Integer.MAX_VALUE && rows <= Integer.MAX_VALUE;
      rows = positive ? rows * size : 0;
    }
    if (!positive || columns > Integer.MAX_VALUE || rows > Integer.MAX_VALUE) {
      throw new ModelFileException(
          name + ": tensor " + tensor + " has an impossible shape; the file is damaged, download it "
              + "again");
    }
    int type = in.readInt();
    long offset = in.readLong();
    if (table.put(tensor, new long[] {columns, rows, type, offset}) != null) {
      throw new ModelFileException(
          name + ": tensor " + tensor + " is there twice; the file is damaged, download it again");
    }
  }

  private static Entry entry(String name, String tensor, long[] info, long dataStart, long size) {
    TensorType type = null;
    for (TensorType candidate : TensorType.values()) {
      if (candidate.ggmlId() == info[2]) {
        type = candidate;
      }
    }
    if (type == null) {
      throw new ModelFileException(
          name + ": tensor " + tensor + " has the ggml type " + info[2]
              + ", which is not supported; take a file in "
              + java.util.Arrays.toString(TensorType.values()));
    }
    long columns = info[0];
    long rows = info[1];
    if (columns % type.blockValues() != 0) {
      throw new ModelFileException(
          name + ": tensor " + tensor + " has rows of " + columns + " values, " + type
              + " needs a multiple of " + type.blockValues() + "; the file is damaged");
    }
    long room = size - dataStart;
    long values = columns * rows;
    if (values / type.blockValues() > room / type.blockBytes()
        || info[3] < 0
        || info[3] > room - type.bytes(values)) {
      throw new ModelFileException(
          name + ": tensor " + tensor + " ends beyond the file's " + size
              + " bytes; it is cut off, download it again");
    }
    return new Entry(type, rows, columns, dataStart + info[3], type.bytes(values));
  }

  private static Object readValue(String name, BoundedReader in, String key, int type)
      throws IOException {
    return switch (type) {
      case 0 -> (long) (in.readByte() & 0xff);
      case 1 -> (long) in.readByte();
      case 2 -> (long) (in.readShort() & 0xffff);
      case 3 -> (long) in.readShort();
      case 4 -> in.readInt() & 0xffffffffL;
      case 5 -> (long) in.readInt();
      case 6 -> (double) Float.intBitsToFloat(in.readInt());
      case 7 -> in.readByte() != 0;
      case 8 -> in.readString(key);
      case TYPE_ARRAY -> readArray(name, in, key);
      case 10, 11 -> in.readLong();
      case 12 -> Double.longBitsToDouble(in.readLong());
      default -> throw new ModelFileException(
          name + ": " + key + " has the unknown value type " + Integer.toUnsignedString(type)
              + "; the file is damaged, download it again");
    };
  }

  private static Object readArray(String name, BoundedReader in, String key) throws IOException {
    int type = in.readInt();
    int leastBytes =
        switch (type) {
          case 0, 1, 7 -> 1;
          case 2, 3 -> 2;
          case 4, 5, 6 -> 4;
          case 8, 10, 11, 12 -> 8;
          default -> throw new ModelFileException(
              name + ": " + key + " is an array of the type " + Integer.toUnsignedString(type)
                  + ", which is not supported; the file is damaged, download it again");
        };
    int count = in.readCount(key, leastBytes);
    if (type == 8) {
      byte[][] strings = new byte[count][];
      for (int i = 0; i < count; i++) {
        strings[i] = in.readString(key);
      }
      return strings;
    }
    if (type == 6 || type == 12) {
      float[] floats = new float[count];
      for (int i = 0; i < count; i++) {
        floats[i] = ((Double) readValue(name, in, key, type)).floatValue();
      }
      return floats;
    }
    if (type == 7) {
      boolean[] flags = new boolean[count];
      for (int i = 0; i < count; i++) {
        flags[i] = in.readByte() != 0;
      }
      return flags;
    }
    long[] integers = new long[count];
    for (int i = 0; i < count; i++) {
      integers[i] = (Long) readValue(name, in, key, type);
    }
    return integers;
  }

  private static String text(byte[] bytes) {
    return new String(bytes, java.nio.charset.StandardCharsets.UTF_8);
  }

  public Path path() {
    return path;
  }

  public GgufMetadata metadata() {
    return metadata;
  }

  public Set<String> tensorNames() {
    return tensors.keySet();
  }

  /**
   * Maps a tensor.
   *
   * @throws ModelFileException when there is none of that name
   */
  public TensorData tensor(String name) {
    Entry entry = tensors.get(name);
    if (entry == null) {
      throw new ModelFileException(
          path.getFileName() + ": the tensor " + name + " is missing; take a complete file of the model");
    }
    try {
      return new TensorData(
          name,
          entry.type(),
          (int) entry.rows(),
          (int) entry.columns(),
          channel
              .map(FileChannel.MapMode.READ_ONLY, entry.offset(), entry.bytes())
              .order(ByteOrder.LITTLE_ENDIAN));
    } catch (IOException e) {
      throw new ModelFileException(path + ": the tensor " + name + " cannot be mapped: " + e, e);
    }
  }

  @Override
  public void close() {
    closeQuietly(channel);
  }
}
