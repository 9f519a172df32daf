package dev.kvfreeze.spark.plugin;

import dev.kvfreeze.model.ModelFileException;
import dev.kvfreeze.model.store.ModelStore;
import dev.kvfreeze.model.store.StoreSettings;
import dev.kvfreeze.spark.conf.Knobs;
import dev.kvfreeze.spark.conf.Settings;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;

/**
 * Finds the model of the settings as a local file. One on a file system of Hadoop is copied to the
 * host's cache once; it is copied again when its size or time changes.
 */
public final class ModelFiles {
  /** Schemes that the model store reads itself. */
  private static final Set<String> LOCAL = Set.of("hf", "file");

  private ModelFiles() {}

  /** The file, fetched or copied where it is not local yet. */
  public static Path find(Settings settings, Configuration hadoop) {
    String model = settings.value(Knobs.MODEL).strip();
    ModelStore store = new ModelStore(StoreSettings.fromEnvironment());
    int scheme = model.indexOf("://");
    if (scheme < 0 || LOCAL.contains(model.substring(0, scheme))) {
      return store.resolve(model, new DownloadLines());
    }
    try {
      return copied(model, store, hadoop);
    } catch (IOException | IllegalArgumentException e) {
      throw new ModelFileException(
          "%s: cannot be read (%s); check --model and the credentials".formatted(model, e), e);
    }
  }

  /** Several executors of a host may copy at once; the last one wins, with the same bytes. */
  private static Path copied(String model, ModelStore store, Configuration hadoop)
      throws IOException {
    org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(model);
    FileSystem fileSystem = path.getFileSystem(hadoop);
    FileStatus status = fileSystem.getFileStatus(path);
    if (status.isDirectory()) {
      throw new ModelFileException(model + ": it is a folder; name the model file in it");
    }
    String version = Long.toString(status.getModificationTime());
    Optional<Path> kept = store.adopted(model, status.getLen(), version);
    if (kept.isPresent()) {
      return kept.get();
    }
    Path copy = store.temporaryFile();
    try {
      try (InputStream in = fileSystem.open(path)) {
        Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
      }
      return store.adopt(model, status.getLen(), version, copy);
    } finally {
      Files.deleteIfExists(copy);
    }
  }
}
