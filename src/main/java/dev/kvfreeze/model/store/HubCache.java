package dev.kvfreeze.model.store;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;

/**
 * The hub's cache folder, shared with {@code huggingface_hub}: {@code
 * models--owner--name/blobs/ETAG} holds the bytes, {@code snapshots/COMMIT/FILE} links to them,
 * {@code refs/REVISION} names the commit.
 */
final class HubCache {
  private final StoreSettings settings;
  private final Patience patience;
  private final HubClient client;

  HubCache(StoreSettings settings, Patience patience) {
    this.settings = settings;
    this.patience = patience;
    this.client = new HubClient(settings);
  }

  /**
   * The local path of a file, downloaded if it is not there.
   *
   * @throws ModelFileException saying why it cannot be had
   */
  Path resolve(HubAddress address, DownloadProgress progress) {
    Optional<Path> cached = cached(address);
    if (cached.isPresent() && (address.pinned() || settings.offline())) {
      return cached.get();
    }
    if (settings.offline()) {
      throw new ModelFileException(
          "%s is not in %s and HF_HUB_OFFLINE forbids to fetch it; unset that, or fetch it before"
              .formatted(address, repository(address)));
    }
    HubClient.HubFile file;
    try {
      file = client.metadata(address);
    } catch (IOException e) {
      // A job that ran yesterday runs today, hub or no hub.
      return cached.orElseThrow(
          () ->
              new ModelFileException(
                  "%s: %s cannot be reached (%s); check the network and HF_ENDPOINT, or give a local file"
                      .formatted(address, settings.endpoint(), e),
                  e));
    }
    try {
      return fetch(address, file, progress);
    } catch (IOException e) {
      throw new ModelFileException(
          "%s: the download into %s failed (%s); what came is kept, start again to go on, or check the disk and the network"
              .formatted(address, repository(address), e),
          e);
    }
  }

  private Path fetch(HubAddress address, HubClient.HubFile file, DownloadProgress progress)
      throws IOException {
    Path blob = repository(address).resolve("blobs").resolve(file.etag());
    if (!complete(blob, file)) {
      Path lock =
          settings
              .hubCache()
              .resolve(".locks")
              .resolve(address.repositoryFolder())
              .resolve(file.etag() + ".lock");
      try (FileMutex held = FileMutex.acquire(lock)) {
        if (!complete(blob, file)) {
          new HubDownload(client, address.at(file.commit()), file, blob, progress, patience).run();
        }
      }
    }
    Path snapshot = snapshot(address, file.commit());
    link(snapshot, blob);
    if (!address.pinned()) {
      writeAtomically(
          repository(address).resolve("refs").resolve(address.revision()), file.commit());
    }
    return snapshot;
  }

  private static boolean complete(Path blob, HubClient.HubFile file) throws IOException {
    return Files.isRegularFile(blob) && Files.size(blob) == file.bytes();
  }

  private Path repository(HubAddress address) {
    return settings.hubCache().resolve(address.repositoryFolder());
  }

  private Path snapshot(HubAddress address, String commit) {
    return repository(address).resolve("snapshots").resolve(commit).resolve(address.file());
  }

  private Optional<Path> cached(HubAddress address) {
    try {
      String commit = address.revision();
      if (!address.pinned()) {
        Path reference = repository(address).resolve("refs").resolve(address.revision());
        commit = Files.isRegularFile(reference) ? Files.readString(reference).strip() : "";
      }
      return Optional.of(commit)
          .filter(HubAddress::isCommit)
          .map(found -> snapshot(address, found))
          .filter(Files::isRegularFile);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void link(Path snapshot, Path blob) throws IOException {
    if (Files.isRegularFile(snapshot) && Files.isSameFile(snapshot, blob)) {
      return;
    }
    Files.createDirectories(snapshot.getParent());
    Path partial =
        snapshot.resolveSibling(
            snapshot.getFileName() + "." + ProcessHandle.current().pid() + ".partial");
    Files.deleteIfExists(partial);
    try {
      Files.createSymbolicLink(partial, snapshot.getParent().relativize(blob));
    } catch (UnsupportedOperationException e) {
      Files.copy(blob, partial); // File systems without links.
    }
    Files.move(partial, snapshot, StandardCopyOption.ATOMIC_MOVE);
  }

  private static void writeAtomically(Path path, String text) throws IOException {
    Files.createDirectories(path.getParent());
    Path partial = Files.createTempFile(path.getParent(), "reference", ".partial");
    try {
      Files.writeString(partial, text);
      Files.move(partial, path, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(partial);
    }
  }
}
