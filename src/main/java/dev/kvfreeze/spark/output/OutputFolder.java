package dev.kvfreeze.spark.output;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The folder of the result tables. A marker file says that it is ours and with which schema
 * version; a folder that has files but no marker is never written to.
 *
 * <pre>
 * _kvfreeze.json   the marker
 * _kvfreeze.lock   the job that is writing, see {@link OutputLock}
 * _temporary/      files not yet published
 * generations/  steps/  runs/
 * </pre>
 */
public final class OutputFolder {
  private static final String MARKER = "_kvfreeze.json";
  private static final String TEMPORARY = "_temporary";
  private static final String FORMAT = "kvfreeze results";
  private static final ObjectMapper JSON = new ObjectMapper();

  private final FileSystem fileSystem;
  private final Path path;

  private OutputFolder(FileSystem fileSystem, Path path) {
    this.fileSystem = fileSystem;
    this.path = path;
  }

  /**
   * Opens the folder, making it where it is missing.
   *
   * @throws OutputException when it is not ours, of a newer version, or cannot be written
   */
  public static OutputFolder open(String location, Configuration hadoop) {
    Path path = new Path(location);
    try {
      FileSystem fileSystem = path.getFileSystem(hadoop);
      path = fileSystem.makeQualified(path);
      if (fileSystem.exists(path) && fileSystem.getFileStatus(path).isFile()) {
        throw new OutputException(
            "output %s: it is a file; choose a folder with --output".formatted(location));
      }
      if (!fileSystem.mkdirs(path)) {
        throw new OutputException("output %s: the folder cannot be made".formatted(location));
      }
      OutputFolder folder = new OutputFolder(fileSystem, path);
      folder.checkMarker(location);
      return folder;
    } catch (IOException e) {
      throw new OutputException(
          "output %s: cannot be used: %s; check the path and the permissions"
              .formatted(location, e.getMessage()),
          e);
    }
  }

  private void checkMarker(String location) throws IOException {
    Path marker = new Path(path, MARKER);
    if (!fileSystem.exists(marker)) {
      for (FileStatus entry : fileSystem.listStatus(path)) {
        String name = entry.getPath().getName();
        if (!name.startsWith("_kvfreeze") && !name.startsWith("._kvfreeze")) {
          throw new OutputException(
              "output %s: the folder is not empty (it has %s) and has no %s, so it is not an output"
                      .formatted(location, name, MARKER)
                  + " of kvfreeze; choose another or an empty one with --output");
        }
      }
      Map<String, Object> content =
          Map.of("format", FORMAT, "schemaVersion", OutputSchemas.VERSION);
      Path unpublished = new Path(path, MARKER + "." + UUID.randomUUID());
      try (OutputStream out = fileSystem.create(unpublished)) {
        out.write(JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(content));
      }
      // A second job may have been faster, with the same content.
      if (!fileSystem.rename(unpublished, marker)) {
        fileSystem.delete(unpublished, false);
      }
      return;
    }
    int version = 0;
    try (InputStream in = fileSystem.open(marker)) {
      JsonNode content = JSON.readTree(in.readNBytes(1 << 16));
      if (FORMAT.equals(content.path("format").asText())) {
        version = content.path("schemaVersion").asInt();
      }
    } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
      throw new OutputException(
          "output %s: %s is damaged; choose another folder with --output"
              .formatted(location, MARKER),
          e);
    }
    if (version < 1 || version > OutputSchemas.VERSION) {
      throw new OutputException(
          "output %s: its tables have schema version %d, this kvfreeze writes version %d;"
                  .formatted(location, version, OutputSchemas.VERSION)
              + " use a newer kvfreeze or another folder");
    }
  }

  public Path path() {
    return path;
  }

  public FileSystem fileSystem() {
    return fileSystem;
  }

  public Path table(TableSchema table) {
    return new Path(path, table.name());
  }

  static Path table(Path output, TableSchema table) {
    return new Path(output, table.name());
  }

  static Path temporary(Path output, String runId) {
    return new Path(new Path(output, TEMPORARY), runId);
  }

  /** Names of the files of a table; none when it has no folder yet. */
  Set<String> files(TableSchema table) throws IOException {
    return files(fileSystem, table(table), "");
  }

  static Set<String> files(FileSystem fileSystem, Path folder, String prefix) throws IOException {
    Set<String> names = new HashSet<>();
    try {
      for (FileStatus file : fileSystem.listStatus(folder)) {
        String name = file.getPath().getName();
        if (file.isFile() && name.startsWith(prefix) && name.endsWith(".parquet")) {
          names.add(name);
        }
      }
    } catch (FileNotFoundException e) {
      return names;
    }
    return names;
  }

  /**
   * Removes what a killed run left: unpublished files, and files of {@code steps} whose documents
   * were never published. Only with the lock held.
   */
  public void repair() {
    try {
      fileSystem.delete(new Path(path, TEMPORARY), true);
      Set<String> published = files(OutputSchemas.GENERATIONS);
      for (String name : files(OutputSchemas.STEPS)) {
        if (!published.contains(name)) {
          fileSystem.delete(new Path(table(OutputSchemas.STEPS), name), false);
        }
      }
    } catch (IOException e) {
      throw new OutputException(
          "output %s: the leftovers of an earlier run cannot be removed: %s"
              .formatted(path, e.getMessage()),
          e);
    }
  }

  /** Removes the folder of unpublished files, at the end of a run. */
  public void removeTemporary() {
    try {
      fileSystem.delete(new Path(path, TEMPORARY), true);
    } catch (IOException e) {
      // Only rubbish stays behind; the next run removes it.
    }
  }
}
