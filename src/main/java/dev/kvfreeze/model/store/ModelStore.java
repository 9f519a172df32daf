package dev.kvfreeze.model.store;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Turns what a user gives as {@code --model} into a local file: a name of the catalogue, a path, or
 * {@code hf://owner/name/file.gguf}. Files of other systems (hdfs, s3a) are fetched by who can read
 * them and kept here by {@link #adopt}. Safe for use by several threads and processes.
 */
public final class ModelStore {
  private static final Pattern SCHEME = Pattern.compile("[A-Za-z][A-Za-z0-9+.-]+://.*");

  private final StoreSettings settings;
  private final HubCache hub;

  public ModelStore(StoreSettings settings) {
    this(settings, Patience.USUAL);
  }

  ModelStore(StoreSettings settings, Patience patience) {
    this.settings = settings;
    this.hub = new HubCache(settings, patience);
  }

  /**
   * The local file of a model.
   *
   * @throws ModelFileException saying what was looked for, where, and the remedy
   */
  public Path resolve(String model, DownloadProgress progress) {
    if (model.startsWith(HubAddress.SCHEME)) {
      return hub.resolve(HubAddress.parse(model), progress);
    }
    Optional<CatalogueModel> known = CatalogueModel.named(model);
    if (known.isPresent()) {
      return checked(known.get());
    }
    return existing(model, localPath(model));
  }

  /**
   * The copy of a remote file that {@link #adopt} kept, if it is there.
   *
   * @param address of the remote file, for example {@code hdfs://host/models/a.gguf}
   * @param bytes its size now
   * @param version what changes when the file does, for example its modification time
   */
  public Optional<Path> adopted(String address, long bytes, String version) {
    Path path = adoptedPath(address, version);
    try {
      return Files.isRegularFile(path) && Files.size(path) == bytes
          ? Optional.of(path)
          : Optional.empty();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Where to copy a remote file to before {@link #adopt}: a new empty file, on the same disk as the
   * cache. The caller deletes it if the copy fails.
   */
  public Path temporaryFile() {
    try {
      return Files.createTempFile(
          Files.createDirectories(settings.models().resolve("remote")), "model", ".partial");
    } catch (IOException e) {
      throw unwritable(e);
    }
  }

  /**
   * Moves a local copy of a remote file into the cache, in one step.
   *
   * @param copy made by {@link #temporaryFile} and filled
   * @return the path to use from now on
   * @throws ModelFileException when the copy has not the size of the original
   */
  public Path adopt(String address, long bytes, String version, Path copy) {
    try {
      long found = Files.size(copy);
      if (found != bytes) {
        throw new ModelFileException(
            "%s: the copy has %d bytes, expected %d; start again".formatted(address, found, bytes));
      }
      Path target = adoptedPath(address, version);
      Files.createDirectories(target.getParent());
      return Files.move(copy, target, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw unwritable(e);
    }
  }

  private Path adoptedPath(String address, String version) {
    String name = address.substring(address.lastIndexOf('/') + 1).replaceAll("[^\\w.-]", "_");
    return settings
        .models()
        .resolve("remote")
        .resolve(FileHash.sha256(address + "\n" + version).substring(0, 16))
        .resolve(name.startsWith(".") || name.isEmpty() ? "model" + name : name);
  }

  private ModelFileException unwritable(IOException e) {
    return new ModelFileException(
        "the model cache %s cannot be written (%s); free some space, or set KVFREEZE_CACHE to another folder"
            .formatted(settings.models(), e),
        e);
  }

  private Path checked(CatalogueModel model) {
    Path path = settings.models().resolve(model.file());
    if (!Files.isRegularFile(path)) {
      throw new ModelFileException(
          "%s: %s is missing; run jobs/fetch-model %s".formatted(model.name(), path, model.name()));
    }
    try {
      long bytes = Files.size(path);
      if (bytes != model.bytes()) {
        throw new ModelFileException(
            "%s: %s has %d bytes, expected %d; run jobs/fetch-model %s"
                .formatted(model.name(), path, bytes, model.bytes(), model.name()));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    String hash = FileHash.cachedSha256(path, settings.cacheFolder());
    if (!hash.equals(model.sha256())) {
      throw new ModelFileException(
          "%s: %s has SHA-256 %s, expected %s; run jobs/fetch-model %s"
              .formatted(model.name(), path, hash, model.sha256(), model.name()));
    }
    return path;
  }

  private static Path localPath(String model) {
    try {
      if (model.startsWith("file:")) {
        return Path.of(Objects.requireNonNullElse(URI.create(model).getPath(), ""));
      }
      if (!SCHEME.matcher(model).matches()) {
        return Path.of(model);
      }
    } catch (IllegalArgumentException e) {
      throw new ModelFileException("'%s' is no path: %s; correct --model".formatted(model, e), e);
    }
    throw new ModelFileException(
        "'%s' is not a local file nor hf://owner/name/file.gguf; addresses of other systems are read by Spark jobs"
            .formatted(model));
  }

  private static Path existing(String model, Path path) {
    if (Files.isRegularFile(path)) {
      return path;
    }
    String names =
        CatalogueModel.ALL.stream().map(CatalogueModel::name).collect(Collectors.joining(", "));
    throw new ModelFileException(
        "the model '%s' is neither a file%s nor in the catalogue (%s); correct --model, or give hf://owner/name/file.gguf"
            .formatted(model, Files.isDirectory(path) ? " (it is a folder)" : "", names));
  }
}
