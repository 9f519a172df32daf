package dev.kvfreeze.model.store;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.concurrent.TimeUnit;

/** SHA-256 of files and texts, in lower-case hexadecimal. */
public final class FileHash {
  private static final int BUFFER_BYTES = 1 << 20;

  /** Hashed faster than a stamp is written, and often temporary. */
  private static final int SMALL_BYTES = 4 << 20;

  private static final int HASH_CHARACTERS = 64;

  private FileHash() {}

  /** The hash of a file, computed. */
  public static String sha256(Path path) {
    try (InputStream in = Files.newInputStream(path)) {
      MessageDigest digest = newDigest();
      byte[] buffer = new byte[BUFFER_BYTES];
      for (int n = in.read(buffer); n > 0; n = in.read(buffer)) {
        digest.update(buffer, 0, n);
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * The hash of a file, computed once for each state (size and modification time) of it and
   * remembered: in the stamp {@code FILE.verified} that {@code jobs/fetch-model} leaves beside it,
   * or in {@code hashes} of the cache folder. Where that cannot be written it is computed again.
   */
  public static String cachedSha256(Path path, Path cacheFolder) {
    try {
      Path real = path.toRealPath();
      FileTime modified = Files.getLastModifiedTime(real);
      String state = " " + Files.size(real) + " " + modified.to(TimeUnit.NANOSECONDS);
      Path stamp = real.resolveSibling(real.getFileName() + ".verified");
      Path remembered = cacheFolder.resolve("hashes").resolve(sha256(real.toString()) + ".sha256");
      String hash = stampedHash(stamp, state);
      if (hash == null) {
        hash = stampedHash(remembered, state);
      }
      if (hash == null) {
        hash = sha256(real);
        if (Files.size(real) >= SMALL_BYTES) {
          remember(remembered, hash + state + "\n");
        }
      }
      return hash;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static MessageDigest newDigest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  /** The hash of a text in UTF-8. */
  public static String sha256(String text) {
    return HexFormat.of().formatHex(newDigest().digest(text.getBytes(StandardCharsets.UTF_8)));
  }

  /** The hash that a stamp gives for a state, or null. */
  private static String stampedHash(Path stamp, String state) {
    try {
      if (!Files.isRegularFile(stamp) || Files.size(stamp) > 1024) {
        return null;
      }
      String text = Files.readString(stamp).strip();
      boolean fits = text.length() == HASH_CHARACTERS + state.length() && text.endsWith(state);
      String hash = fits ? text.substring(0, HASH_CHARACTERS) : "";
      return hash.matches("[0-9a-f]{64}") ? hash : null;
    } catch (IOException e) {
      return null; // An unreadable stamp is none.
    }
  }

  private static void remember(Path stamp, String text) {
    try {
      Files.createDirectories(stamp.getParent());
      Path partial = Files.createTempFile(stamp.getParent(), "hash", ".partial");
      try {
        Files.writeString(partial, text);
        Files.move(partial, stamp, StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(partial);
      }
    } catch (IOException e) {
      // A cache that cannot be written costs time, nothing else.
    }
  }
}
