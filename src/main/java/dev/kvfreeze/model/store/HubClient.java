package dev.kvfreeze.model.store;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Redirect;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Locale;
import java.util.Objects;

/**
 * The hub's protocol: metadata of a file from the headers of {@code HEAD
 * /owner/name/resolve/revision/file}, its bytes from {@code GET}, both possibly by redirect to
 * other hosts, which never see the token.
 */
final class HubClient {
  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);
  private static final Duration ANSWER_TIMEOUT = Duration.ofSeconds(30);
  private static final int MAX_REDIRECTS = 5;

  private final StoreSettings settings;
  private final HttpClient http =
      HttpClient.newBuilder()
          .followRedirects(Redirect.NEVER)
          .connectTimeout(CONNECT_TIMEOUT)
          .build();

  HubClient(StoreSettings settings) {
    this.settings = settings;
  }

  /**
   * What the hub says of a file.
   *
   * @param commit the revision's commit, 40 hexadecimal digits
   * @param etag the SHA-256 of files in large-file storage, which all models are
   */
  record HubFile(String commit, String etag, long bytes) {
    boolean hasSha256() {
      return etag.matches("[0-9a-f]{64}");
    }
  }

  /**
   * Asks for a file's metadata.
   *
   * @throws IOException when the hub cannot be reached
   * @throws ModelFileException when it refuses or knows no such file
   */
  HubFile metadata(HubAddress address) throws IOException {
    URI uri = address.url(settings.endpoint());
    for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
      HttpRequest.Builder request =
          request(uri).method("HEAD", HttpRequest.BodyPublishers.noBody());
      HttpResponse<Void> response = send(request, BodyHandlers.discarding());
      boolean redirected = redirects(response);
      // The redirect to the storage carries the metadata; one to a renamed repository does not.
      if (redirected && response.headers().firstValue("X-Linked-Etag").isEmpty()) {
        uri = target(address, uri, response);
        continue;
      }
      if (!redirected && response.statusCode() != 200) {
        requireNotBusy(response);
        throw refusal(address, response);
      }
      return hubFile(address, response);
    }
    throw tooManyRedirects(address);
  }

  /**
   * Opens a file's bytes from {@code offset} on. The status is 200 (the whole file), 206 (from the
   * offset) or 416 (the offset is at or past the end).
   */
  HttpResponse<InputStream> open(HubAddress address, long offset) throws IOException {
    URI uri = address.url(settings.endpoint());
    for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
      HttpRequest.Builder request = request(uri).GET();
      if (offset > 0) {
        request.header("Range", "bytes=" + offset + "-");
      }
      HttpResponse<InputStream> response = send(request, BodyHandlers.ofInputStream());
      int status = response.statusCode();
      if (status == 200 || status == 206 || status == 416) {
        return response;
      }
      response.body().close();
      if (!redirects(response)) {
        requireNotBusy(response);
        throw refusal(address, response);
      }
      uri = target(address, uri, response);
    }
    throw tooManyRedirects(address);
  }

  private HttpRequest.Builder request(URI uri) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(uri)
            .timeout(ANSWER_TIMEOUT)
            .header("Accept-Encoding", "identity")
            .header("User-Agent", "kvfreeze");
    if (!settings.token().isEmpty() && sameOrigin(uri, settings.endpoint())) {
      request.header("Authorization", "Bearer " + settings.token());
    }
    return request;
  }

  private <T> HttpResponse<T> send(HttpRequest.Builder request, BodyHandler<T> handler)
      throws IOException {
    try {
      return http.send(request.build(), handler);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ModelFileException("the download was interrupted; start the job again", e);
    }
  }

  /** Overload and failures of the hub are worth another try, like a lost connection. */
  private static void requireNotBusy(HttpResponse<?> response) throws IOException {
    if (response.statusCode() == 429 || response.statusCode() >= 500) {
      throw new IOException("the server answered with status " + response.statusCode());
    }
  }

  private static boolean redirects(HttpResponse<?> response) {
    return switch (response.statusCode()) {
      case 301, 302, 303, 307, 308 -> true;
      default -> false;
    };
  }

  private static URI target(HubAddress address, URI from, HttpResponse<?> response) {
    String location = response.headers().firstValue("Location").orElse("");
    try {
      URI target = from.resolve(location);
      String scheme = String.valueOf(target.getScheme()).toLowerCase(Locale.ROOT);
      boolean allowed = scheme.equals("https") || scheme.equals(from.getScheme());
      if (!location.isEmpty() && target.getHost() != null && allowed) {
        return target;
      }
    } catch (IllegalArgumentException e) {
      // Reported below.
    }
    // Not the location itself, which may carry a signature.
    throw new ModelFileException(
        "%s: %s redirects to an address that is not allowed (https, or the same scheme); check HF_ENDPOINT"
            .formatted(address, from.getHost()));
  }

  private static boolean sameOrigin(URI a, URI b) {
    return a.getScheme().equalsIgnoreCase(b.getScheme())
        && Objects.requireNonNullElse(a.getHost(), "").equalsIgnoreCase(b.getHost())
        && a.getPort() == b.getPort();
  }

  private HubFile hubFile(HubAddress address, HttpResponse<?> response) {
    var headers = response.headers();
    String commit = headers.firstValue("X-Repo-Commit").orElse("");
    String etag =
        headers
            .firstValue("X-Linked-Etag")
            .or(() -> headers.firstValue("ETag"))
            .orElse("")
            .replaceFirst("^W/", "")
            .replace("\"", "");
    String size =
        headers
            .firstValue("X-Linked-Size")
            .or(() -> headers.firstValue("Content-Length"))
            .orElse("");
    // They become file names.
    if (!HubAddress.isCommit(commit)
        || !etag.matches("[A-Za-z0-9_-]{1,128}")
        || !size.matches("[0-9]{1,15}")) {
      throw new ModelFileException(
          "%s: %s does not answer as a model hub does (X-Repo-Commit, ETag or size is missing or malformed); check HF_ENDPOINT"
              .formatted(address, settings.endpoint()));
    }
    return new HubFile(commit, etag, Long.parseLong(size));
  }

  private ModelFileException refusal(HubAddress address, HttpResponse<?> response) {
    int status = response.statusCode();
    String page = settings.endpoint() + "/" + address.owner() + "/" + address.name();
    String code = response.headers().firstValue("X-Error-Code").orElse("").replaceAll("\\W", "?");
    String token = settings.token().isEmpty() ? "no token is set" : "with the token that is set";
    String remedy =
        switch (status) {
          case 401 ->
              "it is private or does not exist (%s); check the name, and set HF_TOKEN to a token that may read it"
                  .formatted(token);
          case 403 ->
              "access is refused (%s); accept its conditions on %s, and set HF_TOKEN to a token that may read it"
                  .formatted(token, page);
          case 404 -> "there is no such file or revision; see the names on " + page + "/tree/main";
          default -> "try again later, or check HF_ENDPOINT";
        };
    return new ModelFileException(
        "%s: %s answered with status %d%s; %s"
            .formatted(
                address,
                settings.endpoint(),
                status,
                code.isEmpty() ? "" : " (" + code + ")",
                remedy));
  }

  private static ModelFileException tooManyRedirects(HubAddress address) {
    return new ModelFileException(
        "%s: more than %d redirects; check HF_ENDPOINT".formatted(address, MAX_REDIRECTS));
  }
}
