package dev.kvfreeze.model.store;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * Where models are kept and fetched from.
 *
 * @param cacheFolder of kvfreeze: {@code $KVFREEZE_CACHE}, or {@code ~/.cache/kvfreeze}
 * @param hubCache of the hub: {@code $HF_HUB_CACHE}, or {@code hub} in {@code $HF_HOME}
 * @param endpoint of the hub: {@code $HF_ENDPOINT}
 * @param token for the hub, {@code $HF_TOKEN} or the file {@code token} in {@code $HF_HOME}; empty
 *     for none
 * @param offline whether {@code $HF_HUB_OFFLINE} forbids to ask the hub
 */
public record StoreSettings(
    Path cacheFolder, Path hubCache, URI endpoint, String token, boolean offline) {
  private static final String USUAL_ENDPOINT = "https://huggingface.co";
  private static final Set<String> TRUE = Set.of("1", "true", "yes", "on");

  /** The settings of this process. */
  public static StoreSettings fromEnvironment() {
    return from(System.getenv(), Path.of(System.getProperty("user.home")));
  }

  /** kvfreeze's cache folder of this process. */
  public static Path environmentCacheFolder() {
    return cacheFolder(System.getenv(), Path.of(System.getProperty("user.home")));
  }

  /**
   * Reads settings from environment variables.
   *
   * @param home the user's folder
   * @throws ModelFileException when {@code HF_ENDPOINT} is no http address
   */
  public static StoreSettings from(Map<String, String> environment, Path home) {
    Path caches = folder(environment, "XDG_CACHE_HOME", home.resolve(".cache"));
    Path hubHome = folder(environment, "HF_HOME", caches.resolve("huggingface"));
    return new StoreSettings(
        cacheFolder(environment, home),
        folder(environment, "HF_HUB_CACHE", hubHome.resolve("hub")),
        endpoint(environment.getOrDefault("HF_ENDPOINT", "")),
        token(environment, folder(environment, "HF_TOKEN_PATH", hubHome.resolve("token"))),
        TRUE.contains(
            environment.getOrDefault("HF_HUB_OFFLINE", "").strip().toLowerCase(Locale.ROOT)));
  }

  /** Folder of the catalogue's models. */
  public Path models() {
    return cacheFolder.resolve("models");
  }

  /** Without the token. */
  @Override
  public String toString() {
    return "StoreSettings[cacheFolder=%s, hubCache=%s, endpoint=%s, token=%s, offline=%s]"
        .formatted(cacheFolder, hubCache, endpoint, token.isEmpty() ? "none" : "set", offline);
  }

  private static Path cacheFolder(Map<String, String> environment, Path home) {
    return folder(environment, "KVFREEZE_CACHE", home.resolve(".cache").resolve("kvfreeze"));
  }

  private static Path folder(Map<String, String> environment, String variable, Path usual) {
    String value = environment.getOrDefault(variable, "").strip();
    return value.isEmpty() ? usual : Path.of(value);
  }

  private static URI endpoint(String value) {
    String address = value.isBlank() ? USUAL_ENDPOINT : value.strip().replaceAll("/+$", "");
    try {
      URI uri = URI.create(address);
      String scheme = String.valueOf(uri.getScheme()).toLowerCase(Locale.ROOT);
      if (uri.getHost() != null && (scheme.equals("http") || scheme.equals("https"))) {
        return uri;
      }
    } catch (IllegalArgumentException e) {
      // Reported below, with the remedy.
    }
    throw new ModelFileException(
        "HF_ENDPOINT is '%s', allowed are http and https addresses; correct or unset it"
            .formatted(value));
  }

  private static String token(Map<String, String> environment, Path file) {
    String token = environment.getOrDefault("HF_TOKEN", "").strip();
    if (!token.isEmpty() || !Files.isRegularFile(file)) {
      return token;
    }
    try {
      return Files.readString(file).strip();
    } catch (IOException e) {
      return ""; // A token that cannot be read is none; the hub says when one is needed.
    }
  }
}
