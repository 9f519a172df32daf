package dev.kvfreeze.spark.conf;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Finds the files of {@code conf/} by name: in a folder, else in the jar; or by path. */
public final class ConfFiles {
  private static final int MOST_BYTES = 1 << 20;

  private final Configuration hadoop;
  private final String folder;

  /**
   * A file that was found.
   *
   * @param source where, for messages
   */
  public record Found(String text, String source) {}

  public ConfFiles(Configuration hadoop) {
    this(hadoop, "");
  }

  private ConfFiles(Configuration hadoop, String folder) {
    this.hadoop = hadoop;
    this.folder = folder;
  }

  /** The same with names looked up in this folder first; empty for the jar only. */
  public ConfFiles in(String confFolder) {
    return new ConfFiles(hadoop, confFolder.strip());
  }

  /**
   * @param kind folder below {@code conf/}
   * @param value a name, or a path when it has a slash or the ending
   * @throws ConfigurationException when a path cannot be read
   */
  public Optional<Found> find(String kind, String value, String ending) {
    try {
      if (value.contains("/") || value.endsWith(ending)) {
        return Optional.of(read(value));
      }
      if (!folder.isEmpty()) {
        java.nio.file.Path file = java.nio.file.Path.of(folder, kind, value + ending);
        if (Files.isRegularFile(file)) {
          return Optional.of(new Found(Files.readString(file), file.toString()));
        }
      }
      String resource = "/conf/" + kind + "/" + value + ending;
      try (InputStream in = ConfFiles.class.getResourceAsStream(resource)) {
        if (in == null) {
          return Optional.empty();
        }
        String text = new String(in.readNBytes(MOST_BYTES), StandardCharsets.UTF_8);
        return Optional.of(new Found(text, "the jar's " + resource.substring(1)));
      }
    } catch (IOException e) {
      throw new ConfigurationException(
          "cannot read %s of conf/%s: %s".formatted(value, kind, e.getMessage()), e);
    }
  }

  private Found read(String value) throws IOException {
    Path path = new Path(value);
    FileSystem fileSystem = path.getFileSystem(hadoop);
    if (!fileSystem.exists(path)) {
      throw new FileNotFoundException("there is no such file");
    }
    try (InputStream in = fileSystem.open(path)) {
      return new Found(new String(in.readNBytes(MOST_BYTES), StandardCharsets.UTF_8), value);
    }
  }
}
