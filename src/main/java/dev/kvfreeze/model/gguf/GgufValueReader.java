package dev.kvfreeze.model.gguf;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** Reads metadata values into the types that {@link GgufMetadata} stores. */
final class GgufValueReader {
  private static final int UINT8 = 0;
  private static final int INT8 = 1;
  private static final int UINT16 = 2;
  private static final int INT16 = 3;
  private static final int UINT32 = 4;
  private static final int INT32 = 5;
  private static final int FLOAT32 = 6;
  private static final int BOOL = 7;
  private static final int STRING = 8;
  private static final int ARRAY = 9;
  private static final int UINT64 = 10;
  private static final int INT64 = 11;
  private static final int FLOAT64 = 12;

  private final GgufCursor cursor;

  GgufValueReader(GgufCursor cursor) {
    this.cursor = cursor;
  }

  Map<String, Object> readEntries(int count) {
    Map<String, Object> values = new LinkedHashMap<>();
    for (int i = 0; i < count; i++) {
      String key = new String(cursor.readBytes("a metadata key"), StandardCharsets.UTF_8);
      String what = "metadata " + GgufHeader.printable(key);
      int type = cursor.readInt(what + ": type");
      Object value = type == ARRAY ? readArray(what) : readScalar(type, what);
      if (values.putIfAbsent(key, value) != null) {
        throw cursor.failure(what + " is there twice, allowed once");
      }
    }
    return values;
  }

  private Object readScalar(int type, String what) {
    return switch (type) {
      case UINT8 -> cursor.readByte(what) & 0xFFL;
      case INT8 -> (long) cursor.readByte(what);
      case UINT16 -> cursor.readShort(what) & 0xFFFFL;
      case INT16 -> (long) cursor.readShort(what);
      case UINT32 -> cursor.readInt(what) & 0xFFFFFFFFL;
      case INT32 -> (long) cursor.readInt(what);
      case UINT64, INT64 -> cursor.readLong(what);
      case FLOAT32 -> (double) Float.intBitsToFloat(cursor.readInt(what));
      case FLOAT64 -> Double.longBitsToDouble(cursor.readLong(what));
      case BOOL -> cursor.readByte(what) != 0;
      case STRING -> cursor.readBytes(what);
      default -> throw unknownType(type, what);
    };
  }

  private Object readArray(String what) {
    int type = cursor.readInt(what + ": type of the elements");
    int itemBytes =
        switch (type) {
          case UINT8, INT8, BOOL -> 1;
          case UINT16, INT16 -> 2;
          case UINT32, INT32, FLOAT32 -> 4;
          case UINT64, INT64, FLOAT64, STRING -> 8;
          default -> throw unknownType(type, what);
        };
    int count = cursor.readCount(itemBytes, what + ": number of elements");
    if (type == STRING) {
      byte[][] strings = new byte[count][];
      for (int i = 0; i < count; i++) {
        strings[i] = cursor.readBytes(what);
      }
      return strings;
    }
    ByteBuffer items = cursor.view(count * itemBytes);
    if (type == FLOAT32) {
      float[] floats = new float[count];
      items.asFloatBuffer().get(floats);
      return floats;
    } else if (type == FLOAT64) {
      double[] doubles = new double[count];
      items.asDoubleBuffer().get(doubles);
      return doubles;
    } else if (type == BOOL) {
      boolean[] flags = new boolean[count];
      for (int i = 0; i < count; i++) {
        flags[i] = items.get(i) != 0;
      }
      return flags;
    }
    long[] integers = new long[count];
    for (int i = 0; i < count; i++) {
      integers[i] =
          switch (type) {
            case UINT8 -> items.get(i) & 0xFF;
            case INT8 -> items.get(i);
            case UINT16 -> items.getShort(2 * i) & 0xFFFF;
            case INT16 -> items.getShort(2 * i);
            case UINT32 -> items.getInt(4 * i) & 0xFFFFFFFFL;
            case INT32 -> items.getInt(4 * i);
            default -> items.getLong(8 * i);
          };
    }
    return integers;
  }

  private RuntimeException unknownType(int type, String what) {
    return cursor.failure(
        "%s has the value type %s, allowed 0 to 12 and no arrays of arrays"
            .formatted(what, Integer.toUnsignedString(type)));
  }
}
