package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.ModelFileException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The key-value pairs of a GGUF file, typed on access. A missing key or one of another type is a
 * {@link ModelFileException} that names file and key. Arrays are copies and belong to the caller,
 * except the bytes of {@link #byteStrings}, which are shared and must not be changed.
 */
public final class GgufMetadata {
  private static final String REMEDY = "; convert the model again or take another file";

  private final String file;
  // Values are Long, Double, Boolean, byte[] (a string), long[], double[], float[], boolean[] or
  // byte[][] (strings).
  private final Map<String, Object> values;

  GgufMetadata(String file, Map<String, Object> values) {
    this.file = file;
    this.values = Collections.unmodifiableMap(new LinkedHashMap<>(values));
  }

  /**
   * Metadata made in memory.
   *
   * @param file name, for messages
   * @param values Strings, Booleans, Integers, Longs, Floats, Doubles and arrays {@code String[]},
   *     {@code byte[][]}, {@code int[]}, {@code long[]}, {@code float[]}
   */
  public static GgufMetadata of(String file, Map<String, Object> values) {
    Map<String, Object> stored = new LinkedHashMap<>();
    values.forEach((key, value) -> stored.put(key, stored(key, value)));
    return new GgufMetadata(file, stored);
  }

  private static Object stored(String key, Object value) {
    if (value instanceof String text) {
      return text.getBytes(StandardCharsets.UTF_8);
    } else if (value instanceof Integer number) {
      return number.longValue();
    } else if (value instanceof Float number) {
      return number.doubleValue();
    } else if (value instanceof Long || value instanceof Double || value instanceof Boolean) {
      return value;
    } else if (value instanceof String[] texts) {
      byte[][] bytes = new byte[texts.length][];
      for (int i = 0; i < texts.length; i++) {
        bytes[i] = texts[i].getBytes(StandardCharsets.UTF_8);
      }
      return bytes;
    } else if (value instanceof int[] numbers) {
      long[] longs = new long[numbers.length];
      for (int i = 0; i < numbers.length; i++) {
        longs[i] = numbers[i];
      }
      return longs;
    } else if (value instanceof byte[][]
        || value instanceof long[]
        || value instanceof float[]
        || value instanceof double[]
        || value instanceof boolean[]) {
      return value;
    }
    throw new IllegalArgumentException(
        "metadata " + key + ": no GGUF type for " + value.getClass());
  }

  /** Name of the file, for messages. */
  public String file() {
    return file;
  }

  public Set<String> keys() {
    return values.keySet();
  }

  public boolean contains(String key) {
    return values.containsKey(key);
  }

  /** Whether the key is present and holds an array. */
  public boolean array(String key) {
    Object value = values.get(key);
    return value != null && value.getClass().isArray() && !(value instanceof byte[]);
  }

  /** A string; bytes that are not UTF-8 become U+FFFD. */
  public String string(String key) {
    return new String(required(key, byte[].class, "a string"), StandardCharsets.UTF_8);
  }

  public String stringOrNull(String key) {
    return contains(key) ? string(key) : null;
  }

  /** An integer of any GGUF width; unsigned 64-bit ones above 2^63 - 1 come out negative. */
  public long integer(String key) {
    return required(key, Long.class, "an integer");
  }

  public long integerOr(String key, long fallback) {
    return contains(key) ? integer(key) : fallback;
  }

  /** An integer that must lie in {@code [least, most]}. */
  public int boundedInteger(String key, int least, int most) {
    return bounded(key, integer(key), least, most);
  }

  /**
   * Like {@link #boundedInteger}, also from an array with an integer for each layer if all are
   * equal.
   */
  public int uniformInteger(String key, int least, int most) {
    if (!array(key)) {
      return boundedInteger(key, least, most);
    }
    long[] integers = integers(key);
    for (long integer : integers) {
      if (integer != integers[0]) {
        throw new ModelFileException(
            "%s: metadata %s differs between layers (%d and %d), which is not supported; take"
                    .formatted(file, key, integers[0], integer)
                + " another model");
      }
    }
    return bounded(key, integers.length == 0 ? 0 : integers[0], least, most);
  }

  /** A float or an integer. */
  public double number(String key) {
    return values.get(key) instanceof Long number
        ? number.doubleValue()
        : required(key, Double.class, "a number");
  }

  public double numberOr(String key, double fallback) {
    return contains(key) ? number(key) : fallback;
  }

  public boolean flagOr(String key, boolean fallback) {
    return contains(key) ? required(key, Boolean.class, "a boolean") : fallback;
  }

  /** Strings as the file's bytes: tokens need not be valid UTF-8. */
  public byte[][] byteStrings(String key) {
    return required(key, byte[][].class, "an array of strings").clone();
  }

  /** Strings; bytes that are not UTF-8 become U+FFFD. */
  public String[] strings(String key) {
    byte[][] bytes = required(key, byte[][].class, "an array of strings");
    String[] texts = new String[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      texts[i] = new String(bytes[i], StandardCharsets.UTF_8);
    }
    return texts;
  }

  /** An array of floats; 64-bit floats are rounded. */
  public float[] floats(String key) {
    if (values.get(key) instanceof double[] doubles) {
      float[] floats = new float[doubles.length];
      for (int i = 0; i < doubles.length; i++) {
        floats[i] = (float) doubles[i];
      }
      return floats;
    }
    return required(key, float[].class, "an array of floats").clone();
  }

  public long[] integers(String key) {
    return required(key, long[].class, "an array of integers").clone();
  }

  /** An array of booleans, or of integers of which all but 0 are true. */
  public boolean[] flags(String key) {
    if (values.get(key) instanceof long[] integers) {
      boolean[] flags = new boolean[integers.length];
      for (int i = 0; i < flags.length; i++) {
        flags[i] = integers[i] != 0;
      }
      return flags;
    }
    return required(key, boolean[].class, "an array of booleans").clone();
  }

  private int bounded(String key, long value, int least, int most) {
    if (value < least || value > most) {
      throw new ModelFileException(
          "%s: metadata %s is %d, allowed %d to %d%s"
              .formatted(file, key, value, least, most, REMEDY));
    }
    return (int) value;
  }

  private <T> T required(String key, Class<T> type, String wanted) {
    Object value = values.get(key);
    if (value == null) {
      throw new ModelFileException(
          "%s: metadata %s is missing, %s is needed%s".formatted(file, key, wanted, REMEDY));
    }
    if (!type.isInstance(value)) {
      throw new ModelFileException(
          "%s: metadata %s is %s, %s is needed%s"
              .formatted(file, key, describe(value), wanted, REMEDY));
    }
    return type.cast(value);
  }

  private static String describe(Object value) {
    if (value instanceof byte[]) {
      return "a string";
    } else if (value instanceof byte[][]) {
      return "an array of strings";
    } else if (value instanceof long[]) {
      return "an array of integers";
    } else if (value instanceof boolean[]) {
      return "an array of booleans";
    } else if (value.getClass().isArray()) {
      return "an array of floats";
    } else if (value instanceof Long) {
      return "an integer";
    } else if (value instanceof Boolean) {
      return "a boolean";
    }
    return "a float";
  }
}
