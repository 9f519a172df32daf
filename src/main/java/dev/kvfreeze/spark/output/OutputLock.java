package dev.kvfreeze.spark.output;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * One job at a time writes to an output. The lock is a file that the driver renews; a job that died
 * loses it at once on the same host (its process is gone), and elsewhere when it was not renewed
 * for {@link #EXPIRES}.
 */
public final class OutputLock implements AutoCloseable {
  static final String FILE = "_kvfreeze.lock";
  private static final Duration RENEWED = Duration.ofSeconds(10);
  private static final Duration EXPIRES = Duration.ofSeconds(90);
  private static final ObjectMapper JSON = new ObjectMapper();

  private final FileSystem fileSystem;
  private final Path file;
  private final String runId;
  private final ScheduledExecutorService renewer;
  private boolean closed;

  private OutputLock(FileSystem fileSystem, Path file, String runId) {
    this.fileSystem = fileSystem;
    this.file = file;
    this.runId = runId;
    this.renewer =
        Executors.newSingleThreadScheduledExecutor(
            task -> {
              Thread thread = new Thread(task, "kvfreeze-output-lock");
              thread.setDaemon(true);
              return thread;
            });
  }

  /**
   * @param onLost called when the lock turns out to belong to another job
   * @throws OutputException when another job is writing
   */
  public static OutputLock acquire(OutputFolder folder, String runId, Runnable onLost) {
    Path file = new Path(folder.path(), FILE);
    OutputLock lock = new OutputLock(folder.fileSystem(), file, runId);
    try {
      if (!lock.create()) {
        lock.removeStale();
        if (!lock.create()) {
          throw new OutputException(
              "output %s: another job has just begun to write there".formatted(folder.path()));
        }
      }
    } catch (IOException e) {
      throw new OutputException(
          "output %s: cannot be written: %s; check the permissions and the space left"
              .formatted(folder.path(), e.getMessage()),
          e);
    }
    ScheduledFuture<?> unused =
        lock.renewer.scheduleWithFixedDelay(
            () -> lock.renew(onLost), RENEWED.toSeconds(), RENEWED.toSeconds(), TimeUnit.SECONDS);
    return lock;
  }

  private boolean create() throws IOException {
    try {
      write(fileSystem.create(file, false));
      return true;
    } catch (FileAlreadyExistsException e) {
      return false;
    } catch (IOException e) {
      // Some file systems have no exception of their own for this.
      if (fileSystem.exists(file)) {
        return false;
      }
      throw e;
    }
  }

  private void write(OutputStream stream) throws IOException {
    ProcessHandle process = ProcessHandle.current();
    try (OutputStream out = stream) {
      out.write(
          JSON.writeValueAsBytes(
              Map.of(
                  "runId", runId,
                  "host", host(),
                  "processId", process.pid(),
                  "processStart", processStart(process),
                  "renewed", Instant.now().toString())));
    }
  }

  private void removeStale() throws IOException {
    JsonNode owner = read();
    if (owner == null) {
      return;
    }
    Instant renewed =
        owner.has("renewed")
            ? Instant.parse(owner.get("renewed").asText())
            : Instant.ofEpochMilli(fileSystem.getFileStatus(file).getModificationTime());
    if (!processGone(owner) && renewed.plus(EXPIRES).isAfter(Instant.now())) {
      throw new OutputException(
          "output %s: run %s (process %s on %s) is writing there, last seen %s; wait for it, or choose"
                  .formatted(
                      file.getParent(),
                      owner.path("runId").asText("unknown"),
                      owner.path("processId").asText("unknown"),
                      owner.path("host").asText("unknown"),
                      renewed)
              + " another folder. If it is dead, the folder is free again %d s after that time"
                  .formatted(EXPIRES.toSeconds()));
    }
    // Of two jobs that find it stale, only one can rename it.
    Path moved = new Path(file.getParent(), FILE + "." + UUID.randomUUID());
    if (fileSystem.rename(file, moved)) {
      fileSystem.delete(moved, false);
    }
  }

  private static boolean processGone(JsonNode owner) {
    if (!host().equals(owner.path("host").asText())) {
      return false;
    }
    return ProcessHandle.of(owner.path("processId").asLong())
        .filter(process -> processStart(process).equals(owner.path("processStart").asText()))
        .isEmpty();
  }

  private static String processStart(ProcessHandle process) {
    return process.info().startInstant().map(Instant::toString).orElse("unknown");
  }

  /** The lock's content, an empty object while it is being written, or null when it is gone. */
  private JsonNode read() throws IOException {
    for (int tries = 0; ; tries++) {
      try (InputStream in = fileSystem.open(file)) {
        JsonNode content = JSON.readTree(in.readNBytes(1 << 16));
        if (content.has("runId")) {
          return content;
        }
      } catch (FileNotFoundException e) {
        return null;
      } catch (IOException e) {
        // Half-written, or being renewed.
      }
      if (tries == 5) {
        return JSON.createObjectNode();
      }
      pause();
    }
  }

  private static void pause() throws IOException {
    try {
      Thread.sleep(200);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  private synchronized void renew(Runnable onLost) {
    if (closed) {
      return;
    }
    try {
      JsonNode owner = read();
      if (owner == null || (owner.has("runId") && !owner.get("runId").asText().equals(runId))) {
        onLost.run();
        return;
      }
      write(fileSystem.create(file, true));
    } catch (IOException e) {
      // The storage may be back at the next renewal; the lock expires when it is not.
    }
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException e) {
      return "unknown";
    }
  }

  /** Gives the lock back; a second call does nothing. */
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    renewer.shutdown();
    try {
      JsonNode owner = read();
      if (owner != null && owner.path("runId").asText().equals(runId)) {
        fileSystem.delete(file, false);
      }
    } catch (IOException e) {
      // It expires by itself.
    }
  }
}
