package dev.kvfreeze.model.gguf;

import dev.kvfreeze.model.tensor.TensorType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** Makes GGUF files for tests, sound ones and, where asked to, unsound ones. */
public final class GgufWriter {
  private record Tensor(int typeId, long[] dimensions, byte[] bytes, long offset) {}

  private final Map<String, Object> entries = new LinkedHashMap<>();
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private int version = 3;

  public GgufWriter version(int version) {
    this.version = version;
    return this;
  }

  /** Sets a value: String, Integer, Long, Float, Double, Boolean or an array of them. */
  public GgufWriter put(String key, Object value) {
    entries.put(key, value);
    return this;
  }

  public GgufWriter remove(String key) {
    entries.remove(key);
    return this;
  }

  public GgufWriter tensor(String name, TensorType type, byte[] bytes, long... dimensions) {
    tensors.put(name, new Tensor(type.ggmlId(), dimensions, bytes, -1));
    return this;
  }

  /** A tensor of F32 values. */
  public GgufWriter floats(String name, float[] values, long... dimensions) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return tensor(name, TensorType.F32, bytes.array(), dimensions);
  }

  /** A tensor of which the header says whatever is given. */
  public GgufWriter falseTensor(
      String name, int typeId, long offset, byte[] bytes, long... dimensions) {
    tensors.put(name, new Tensor(typeId, dimensions, bytes, offset));
    return this;
  }

  public GgufWriter removeTensor(String name) {
    tensors.remove(name);
    return this;
  }

  public byte[] tensorBytes(String name) {
    return tensors.get(name).bytes();
  }

  public Path write(Path path) {
    try {
      return Files.write(path, toBytes());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public byte[] toBytes() {
    int alignment = entries.get("general.alignment") instanceof Integer set ? set : 32;
    Output out = new Output();
    out.raw("GGUF".getBytes(StandardCharsets.US_ASCII)).int32(version);
    out.int64(tensors.size()).int64(entries.size());
    entries.forEach((key, value) -> out.text(key).typed(value));
    long offset = 0;
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      Tensor tensor = entry.getValue();
      out.text(entry.getKey()).int32(tensor.dimensions().length);
      for (long dimension : tensor.dimensions()) {
        out.int64(dimension);
      }
      out.int32(tensor.typeId()).int64(tensor.offset() < 0 ? offset : tensor.offset());
      offset = aligned(offset + tensor.bytes().length, alignment);
    }
    for (Tensor tensor : tensors.values()) {
      out.raw(new byte[(int) (aligned(out.size(), alignment) - out.size())]).raw(tensor.bytes());
    }
    return out.bytes();
  }

  private static long aligned(long position, int alignment) {
    return alignment < 1 ? position : (position + alignment - 1) / alignment * alignment;
  }

  /** Little-endian values one after the other. */
  private static final class Output {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    int size() {
      return bytes.size();
    }

    byte[] bytes() {
      return bytes.toByteArray();
    }

    Output raw(byte[] raw) {
      bytes.writeBytes(raw);
      return this;
    }

    Output int32(int value) {
      return raw(buffer(4).putInt(value).array());
    }

    Output int64(long value) {
      return raw(buffer(8).putLong(value).array());
    }

    Output text(String text) {
      return string(text.getBytes(StandardCharsets.UTF_8));
    }

    Output string(byte[] string) {
      return int64(string.length).raw(string);
    }

    private static ByteBuffer buffer(int bytes) {
      return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    Output typed(Object value) {
      if (value instanceof Integer number) {
        return int32(4).int32(number);
      } else if (value instanceof Long number) {
        return int32(10).int64(number);
      } else if (value instanceof Float number) {
        return int32(6).int32(Float.floatToRawIntBits(number));
      } else if (value instanceof Double number) {
        return int32(12).int64(Double.doubleToRawLongBits(number));
      } else if (value instanceof Boolean flag) {
        return int32(7).raw(new byte[] {(byte) (flag ? 1 : 0)});
      } else if (value instanceof String text) {
        return int32(8).text(text);
      }
      return int32(9).array(value);
    }

    private Output array(Object value) {
      if (value instanceof String[] texts) {
        int32(8).int64(texts.length);
        for (String text : texts) {
          text(text);
        }
      } else if (value instanceof byte[][] strings) {
        int32(8).int64(strings.length);
        for (byte[] string : strings) {
          string(string);
        }
      } else if (value instanceof int[] numbers) {
        int32(5).int64(numbers.length);
        for (int number : numbers) {
          int32(number);
        }
      } else if (value instanceof float[] numbers) {
        int32(6).int64(numbers.length);
        for (float number : numbers) {
          int32(Float.floatToRawIntBits(number));
        }
      } else if (value instanceof boolean[] flags) {
        int32(7).int64(flags.length);
        for (boolean flag : flags) {
          raw(new byte[] {(byte) (flag ? 1 : 0)});
        }
      } else {
        throw new IllegalArgumentException("no GGUF type for " + value.getClass());
      }
      return this;
    }
  }
}
