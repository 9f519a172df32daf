package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.tensor.TensorType;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What precedes the tensors' values in a GGUF file: metadata and where each tensor lies. */
record GgufHeader(GgufMetadata metadata, Map<String, GgufTensorInfo> tensors) {
  private static final int MAGIC = 'G' | 'G' << 8 | 'U' << 16 | 'F' << 24;
  private static final int MAX_DIMENSIONS = 4;
  private static final int DEFAULT_ALIGNMENT = 32;
  private static final int MAX_ALIGNMENT = 1 << 20;
  // Key length, value type and the shortest value; name length, dimension count, one dimension,
  // type and offset: what an entry takes at least.
  private static final int MIN_ENTRY_BYTES = 8 + 4 + 1;
  private static final int MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8;

  static GgufHeader read(String fileName, GgufCursor cursor, long fileBytes) {
    int magic = cursor.readInt("the magic number");
    if (magic != MAGIC) {
      throw cursor.failure(
          "not a GGUF file: it begins with %08x, allowed %08x (GGUF)"
              .formatted(Integer.reverseBytes(magic), Integer.reverseBytes(MAGIC)));
    }
    int version = cursor.readInt("the version");
    if ((version & 0xFFFF) == 0 && version != 0) {
      throw cursor.failure(
          "big-endian (version %d byte-swapped); only little-endian files are read"
              .formatted(Integer.reverseBytes(version)),
          "take the little-endian file or convert it");
    }
    if (version != 2 && version != 3) {
      throw cursor.failure(
          "GGUF version %s, allowed 2 and 3".formatted(Integer.toUnsignedString(version)),
          "convert the model again with a current converter");
    }
    int tensorCount = cursor.readCount(MIN_TENSOR_BYTES, "the number of tensors");
    int entryCount = cursor.readCount(MIN_ENTRY_BYTES, "the number of metadata entries");
    GgufMetadata metadata =
        new GgufMetadata(fileName, new GgufValueReader(cursor).readEntries(entryCount));
    List<RawInfo> raw = new ArrayList<>();
    for (int i = 0; i < tensorCount; i++) {
      raw.add(readInfo(cursor));
    }
    int alignment = alignment(cursor, metadata);
    long dataStart = (cursor.position() + alignment - 1) / alignment * alignment;
    return new GgufHeader(metadata, place(raw, cursor, alignment, dataStart, fileBytes));
  }

  private record RawInfo(
      String name, TensorType type, List<Long> dimensions, long bytes, long dataOffset) {}

  private static RawInfo readInfo(GgufCursor cursor) {
    String name = new String(cursor.readBytes("a tensor's name"), StandardCharsets.UTF_8);
    String tensor = "tensor " + printable(name);
    int count = cursor.readInt(tensor + ": number of dimensions");
    if (count < 1 || count > MAX_DIMENSIONS) {
      throw cursor.failure(
          "%s has %s dimensions, allowed 1 to %d"
              .formatted(tensor, Integer.toUnsignedString(count), MAX_DIMENSIONS));
    }
    List<Long> dimensions = new ArrayList<>();
    long values = 1;
    for (int d = 0; d < count; d++) {
      long dimension = cursor.readLong(tensor + ": dimension " + d);
      // Columns and rows are ints downstream, so their product fits a long.
      if (dimension < 1 || dimension > Integer.MAX_VALUE) {
        throw cursor.failure(
            "%s: dimension %d is %s, allowed 1 to %d"
                .formatted(tensor, d, Long.toUnsignedString(dimension), Integer.MAX_VALUE));
      }
      dimensions.add(dimension);
      long rows = d == 0 ? 1 : values / dimensions.get(0) * dimension;
      if (rows > Integer.MAX_VALUE) {
        throw cursor.failure(
            "%s has %d rows, allowed at most %d".formatted(tensor, rows, Integer.MAX_VALUE));
      }
      values *= dimension;
    }
    int typeId = cursor.readInt(tensor + ": type");
    TensorType type =
        GgmlTypes.byId(typeId)
            .orElseThrow(
                () ->
                    cursor.failure(
                        "%s has the unsupported type %s, allowed are %s"
                            .formatted(tensor, GgmlTypes.name(typeId), GgmlTypes.supported()),
                        "take a file of another quantisation"));
    if (dimensions.get(0) % type.blockValues() != 0) {
      throw cursor.failure(
          "%s has %d columns, not a multiple of the %d values of a %s block"
              .formatted(tensor, dimensions.get(0), type.blockValues(), type));
    }
    // Columns and rows allow up to 2^62 values, whose bytes a long may not hold.
    if (values > Long.MAX_VALUE / 8) {
      throw cursor.failure("%s has %d values, more than any file".formatted(tensor, values));
    }
    return new RawInfo(
        name,
        type,
        List.copyOf(dimensions),
        type.bytes(values),
        cursor.readLong(tensor + ": offset"));
  }

  private static int alignment(GgufCursor cursor, GgufMetadata metadata) {
    long alignment = metadata.integerOr("general.alignment", DEFAULT_ALIGNMENT);
    if (alignment < 1 || alignment > MAX_ALIGNMENT || Long.bitCount(alignment) != 1) {
      throw cursor.failure(
          "general.alignment is %d, allowed powers of two up to %d"
              .formatted(alignment, MAX_ALIGNMENT));
    }
    return (int) alignment;
  }

  /** Checks that the tensors lie within the file, aligned and apart from each other. */
  private static Map<String, GgufTensorInfo> place(
      List<RawInfo> raw, GgufCursor cursor, int alignment, long dataStart, long fileBytes) {
    Map<String, GgufTensorInfo> tensors = new LinkedHashMap<>();
    for (RawInfo info : raw) {
      String tensor = "tensor " + printable(info.name);
      if (info.dataOffset < 0 || info.dataOffset % alignment != 0) {
        throw cursor.failure(
            "%s: offset %s is not a multiple of the alignment, %d"
                .formatted(tensor, Long.toUnsignedString(info.dataOffset), alignment));
      }
      long available = fileBytes - dataStart;
      if (info.bytes > available || info.dataOffset > available - info.bytes) {
        throw cursor.failure(
            "truncated: %s begins at byte %d and has %d bytes, but the file ends at %d"
                .formatted(tensor, dataStart + info.dataOffset, info.bytes, fileBytes));
      }
      if (info.bytes > Integer.MAX_VALUE) {
        throw cursor.failure(
            "%s has %d bytes, allowed at most %d".formatted(tensor, info.bytes, Integer.MAX_VALUE),
            "take a file of a smaller quantisation");
      }
      GgufTensorInfo placed =
          new GgufTensorInfo(
              info.name, info.type, info.dimensions, dataStart + info.dataOffset, info.bytes);
      if (tensors.putIfAbsent(info.name, placed) != null) {
        throw cursor.failure(tensor + " is there twice, allowed once");
      }
    }
    List<GgufTensorInfo> ordered = new ArrayList<>(tensors.values());
    ordered.sort(Comparator.comparingLong(GgufTensorInfo::fileOffset));
    for (int i = 1; i < ordered.size(); i++) {
      GgufTensorInfo before = ordered.get(i - 1);
      if (before.fileOffset() + before.bytes() > ordered.get(i).fileOffset()) {
        throw cursor.failure(
            "tensors %s and %s overlap: the first ends at byte %d, the second begins at %d"
                .formatted(
                    printable(before.name()),
                    printable(ordered.get(i).name()),
                    before.fileOffset() + before.bytes(),
                    ordered.get(i).fileOffset()));
      }
    }
    return Collections.unmodifiableMap(tensors);
  }

  /** A name from an untrusted file, short and without control characters, for messages. */
  static String printable(String name) {
    String visible = name.replaceAll("\\p{C}", "?");
    return visible.length() <= 80 ? visible : visible.substring(0, 80) + "...";
  }
}
