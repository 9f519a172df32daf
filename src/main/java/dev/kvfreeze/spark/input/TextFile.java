package dev.kvfreeze.spark.input;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.compress.CompressionCodec;
import org.apache.hadoop.io.compress.CompressionCodecFactory;

/** Reads one text file, unpacked where its ending says that it is compressed (gz, bz2, zst). */
final class TextFile {
  private static final int MOST_BYTES = 256 << 20;

  private TextFile() {}

  static InputDocument read(String file, String id, Configuration hadoop) {
    Path path = new Path(file);
    CompressionCodec codec = new CompressionCodecFactory(hadoop).getCodec(path);
    try (InputStream raw = path.getFileSystem(hadoop).open(path);
        InputStream in = codec == null ? raw : codec.createInputStream(raw)) {
      byte[] bytes = in.readNBytes(MOST_BYTES + 1);
      if (bytes.length > MOST_BYTES) {
        return problem(
            id,
            "DocumentTooLarge",
            "the document has more than %d MB; split it".formatted(MOST_BYTES >> 20));
      }
      return TextDecoder.decode(id, bytes);
    } catch (IOException e) {
      return problem(id, "UnreadableFile", "%s: cannot be read: %s".formatted(file, e));
    }
  }

  private static InputDocument problem(String id, String errorClass, String message) {
    return InputDocument.of(id, "", List.of(), new DocumentProblem(errorClass, message));
  }
}
