package dev.kvfreeze.model.store;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * One download into {@code blobs/ETAG.incomplete}, resumed after a cut connection, now or in a
 * later run, then checked and moved in place.
 */
final class HubDownload {
  private static final int ATTEMPTS = 5;
  private static final int BUFFER_BYTES = 1 << 17;

  private final HubClient client;
  private final HubAddress address;
  private final HubClient.HubFile file;
  private final Path blob;
  private final Path incomplete;
  private final DownloadProgress progress;
  private final Patience patience;

  HubDownload(
      HubClient client,
      HubAddress address,
      HubClient.HubFile file,
      Path blob,
      DownloadProgress progress,
      Patience patience) {
    this.client = client;
    this.address = address;
    this.file = file;
    this.blob = blob;
    this.incomplete = blob.resolveSibling(blob.getFileName() + ".incomplete");
    this.progress = progress;
    this.patience = patience;
  }

  /** Downloads the rest; the caller holds the blob's lock. */
  void run() throws IOException {
    Files.createDirectories(blob.getParent());
    requireSpace();
    int failures = 0;
    while (present() != file.bytes()) {
      long before = present();
      IOException failure = null;
      try {
        receive();
      } catch (IOException e) {
        failure = e;
      }
      // Attempts that made progress are free: what counts is that it comes to an end.
      failures = present() > before ? 1 : failures + 1;
      if (present() != file.bytes() && failures >= ATTEMPTS) {
        throw new IOException(
            "%d of %d bytes came in, then nothing in %d attempts"
                .formatted(present(), file.bytes(), ATTEMPTS),
            failure);
      }
      if (present() != file.bytes()) {
        pause(patience.firstPause().toMillis() << (failures - 1));
      }
    }
    requireHash();
    Files.move(incomplete, blob, StandardCopyOption.ATOMIC_MOVE);
  }

  private long present() throws IOException {
    return Files.isRegularFile(incomplete) ? Files.size(incomplete) : 0;
  }

  private void requireSpace() throws IOException {
    long needed = file.bytes() - Math.min(file.bytes(), present());
    long usable = Files.getFileStore(blob.getParent()).getUsableSpace();
    if (usable < needed) {
      throw new ModelFileException(
          "%s: %s has %d bytes free, %d are needed; free some space or set HF_HOME to another folder"
              .formatted(address, blob.getParent(), usable, needed));
    }
  }

  private void receive() throws IOException {
    if (present() > file.bytes()) {
      Files.delete(incomplete); // Of another file, or damaged.
    }
    long offset = present();
    HttpResponse<InputStream> response = client.open(address, offset);
    try (InputStream body = response.body();
        StallGuard guard = new StallGuard(body, patience.stallLimit().toMillis())) {
      int status = response.statusCode();
      String range = response.headers().firstValue("Content-Range").orElse("");
      if (status == 416 || status == 206 && !range.startsWith("bytes " + offset + "-")) {
        Files.deleteIfExists(incomplete);
        throw new IOException("the server cannot go on at byte " + offset);
      }
      if (status == 200) {
        Files.deleteIfExists(incomplete); // It sends the whole file, whatever was asked for.
        offset = 0;
      }
      append(body, guard, offset);
    }
  }

  private void append(InputStream body, StallGuard guard, long offset) throws IOException {
    try (OutputStream out =
        Files.newOutputStream(incomplete, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
      byte[] buffer = new byte[BUFFER_BYTES];
      long done = offset;
      for (int n = body.read(buffer); n > 0; n = body.read(buffer)) {
        if (n > file.bytes() - done) {
          throw new IOException(
              "the server sends more than the %d bytes it announced".formatted(file.bytes()));
        }
        out.write(buffer, 0, n);
        done += n;
        guard.progressed();
        progress.report(address.file(), done, file.bytes());
      }
    }
  }

  private void requireHash() throws IOException {
    if (!file.hasSha256()) {
      return; // Small files outside the large-file storage carry no SHA-256.
    }
    String found = FileHash.sha256(incomplete);
    if (!found.equals(file.etag())) {
      Files.delete(incomplete);
      throw new ModelFileException(
          "%s: the download has SHA-256 %s, expected %s; it was deleted, start again"
              .formatted(address, found, file.etag()));
    }
  }

  private static void pause(long millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ModelFileException("the download was interrupted; start the job again", e);
    }
  }
}
