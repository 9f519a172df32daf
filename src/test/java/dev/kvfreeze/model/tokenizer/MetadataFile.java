package dev.kvfreeze.model.tokenizer;

import dev.kvfreeze.model.gguf.GgufFile;
import dev.kvfreeze.model.gguf.GgufMetadata;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes GGUF files that hold metadata only. */
final class MetadataFile {
  private final Map<String, Object> values = new LinkedHashMap<>();

  MetadataFile with(String key, Object value) {
    values.put(key, value);
    return this;
  }

  MetadataFile without(String key) {
    values.remove(key);
    return this;
  }

  GgufMetadata metadata(Path folder) throws IOException {
    ByteBuffer out = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
    out.putInt(0x46554747).putInt(3).putLong(0).putLong(values.size());
    values.forEach(
        (key, value) -> {
          text(out, key);
          if (value instanceof String string) {
            out.putInt(8);
            text(out, string);
          } else if (value instanceof Integer number) {
            out.putInt(4).putInt(number);
          } else if (value instanceof Boolean flag) {
            out.putInt(7).put((byte) (flag ? 1 : 0));
          } else {
            list(out, (List<?>) value);
          }
        });
    Path path = Files.createTempFile(folder, "metadata", ".gguf");
    Files.write(path, java.util.Arrays.copyOf(out.array(), out.position()));
    try (GgufFile file = GgufFile.open(path)) {
      return file.metadata();
    }
  }

  private static void list(ByteBuffer out, List<?> list) {
    Object first = list.isEmpty() ? "" : list.get(0);
    out.putInt(9).putInt(first instanceof String ? 8 : first instanceof Float ? 6 : 5);
    out.putLong(list.size());
    for (Object value : list) {
      if (value instanceof String string) {
        text(out, string);
      } else if (value instanceof Float number) {
        out.putFloat(number);
      } else {
        out.putInt((Integer) value);
      }
    }
  }

  private static void text(ByteBuffer out, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    out.putLong(bytes.length).put(bytes);
  }
}
