package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.ModelFileException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;

/**
 * The key-value metadata of a GGUF file, with typed access. Integers of every width read as {@code
 * long}, floats as {@code double}, strings as their raw bytes (a vocabulary's need not be UTF-8).
 */
public final class GgufMetadata {
  private final String file;
  private final Map<String, Object> values;

  /** Values are Long, Double, Boolean, byte[] (a string), byte[][], long[], float[] or boolean[]. */
  GgufMetadata(String file, Map<String, Object> values) {
    this.file = file;
    this.values = Map.copyOf(values);
  }

  /** The file's name, for messages. */
  public String file() {
    return file;
  }

  public boolean contains(String key) {
    return values.containsKey(key);
  }

  public Set<String> keys() {
    return values.keySet();
  }

  public String string(String key) {
    return new String(require(key, byte[].class, "a string"), StandardCharsets.UTF_8);
  }

  public String stringOrNull(String key) {
    return contains(key) ? string(key) : null;
  }

  public long integer(String key) {
    return require(key, Long.class, "an integer");
  }

  public long integerOr(String key, long fallback) {
    return contains(key) ? integer(key) : fallback;
  }

  /** An integer that must lie in {@code [least, most]}. */
  public int boundedInteger(String key, int least, int most) {
    long value = integer(key);
    if (value < least || value > most) {
      throw new ModelFileException(
          file + ": " + key + " is " + value + ", between " + least + " and " + most
              + " is possible; the file is damaged or not a language model, download it again");
    }
    return (int) value;
  }

  /** A number, integer or floating. */
  public double number(String key) {
    Object value = require(key, Object.class, "a number");
    if (value instanceof Long integer) {
      return integer;
    }
    return require(key, Double.class, "a number");
  }

  public double numberOr(String key, double fallback) {
    return contains(key) ? number(key) : fallback;
  }

  public boolean flagOr(String key, boolean fallback) {
    return contains(key) ? require(key, Boolean.class, "a flag") : fallback;
  }

  public String[] strings(String key) {
    byte[][] raw = byteStrings(key);
    String[] strings = new String[raw.length];
    for (int i = 0; i < raw.length; i++) {
      strings[i] = new String(raw[i], StandardCharsets.UTF_8);
    }
    return strings;
  }

  public byte[][] byteStrings(String key) {
    return require(key, byte[][].class, "an array of strings");
  }

  public float[] floats(String key) {
    return require(key, float[].class, "an array of floats");
  }

  public long[] integers(String key) {
    return require(key, long[].class, "an array of integers");
  }

  /** An array of flags, or of integers of which all but 0 are true. */
  public boolean[] flags(String key) {
    Object value = require(key, Object.class, "an array of flags");
    if (value instanceof long[] integers) {
      boolean[] flags = new boolean[integers.length];
      for (int i = 0; i < flags.length; i++) {
        flags[i] = integers[i] != 0;
      }
      return flags;
    }
    return require(key, boolean[].class, "an array of flags");
  }

  /** Whether the value of a key is an array. */
  public boolean array(String key) {
    Object value = values.get(key);
    return value != null && value.getClass().isArray() && !(value instanceof byte[]);
  }

  private <T> T require(String key, Class<T> type, String kind) {
    Object value = values.get(key);
    if (value == null) {
      throw new ModelFileException(
          file + ": the metadata has no " + key + "; take a complete GGUF of the model");
    }
    if (!type.isInstance(value)) {
      throw new ModelFileException(
          file + ": " + key + " is not " + kind + "; the file is damaged, download it again");
    }
    return type.cast(value);
  }
}
