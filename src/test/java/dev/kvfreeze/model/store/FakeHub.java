package dev.kvfreeze.model.store;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Two servers on loopback: a hub that answers {@code /owner/name/resolve/revision/file} with the
 * hub's headers and a redirect, and the storage it redirects to, on another port, thus another
 * origin.
 */
final class FakeHub implements AutoCloseable {
  static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

  /** One request as a server saw it. */
  record Seen(String method, String path, String range, String authorization) {}

  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final CountDownLatch closed = new CountDownLatch(1);
  private final HttpServer hub;
  private final HttpServer storage;
  private final Map<String, byte[]> files = new ConcurrentHashMap<>();
  private final Map<String, String> etags = new ConcurrentHashMap<>();
  final List<Seen> hubSeen = new CopyOnWriteArrayList<>();
  final List<Seen> storageSeen = new CopyOnWriteArrayList<>();

  /** Storage cuts the connection after this many bytes, this many times. */
  volatile int cutAfterBytes;

  final AtomicInteger cuts = new AtomicInteger();

  /** Storage says nothing more after those bytes, this many times, and leaves the line open. */
  final AtomicInteger stalls = new AtomicInteger();

  /** Storage answers with the whole file whatever range is asked for. */
  volatile boolean ignoresRanges;

  /** The token that the hub wants; empty for none. */
  volatile String token = "";

  /** The status of every answer of the hub; 0 for the right one. */
  volatile int status;

  /** The hub sends requests for other repositories than this one here, by a relative redirect. */
  volatile String renamedTo = "";

  FakeHub() throws IOException {
    hub = start(this::answerHub);
    storage = start(this::answerStorage);
  }

  private HttpServer start(com.sun.net.httpserver.HttpHandler handler) throws IOException {
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(threads);
    server.createContext("/", handler);
    server.start();
    return server;
  }

  URI endpoint() {
    return address(hub, "");
  }

  private static URI address(HttpServer server, String path) {
    return URI.create("http://127.0.0.1:" + server.getAddress().getPort() + path);
  }

  FakeHub file(String path, byte[] bytes, String etag) {
    files.put(path, bytes);
    etags.put(path, etag);
    return this;
  }

  long gets() {
    return storageSeen.stream().filter(seen -> seen.method().equals("GET")).count();
  }

  private static Seen seen(HttpExchange exchange) {
    return new Seen(
        exchange.getRequestMethod(),
        exchange.getRequestURI().getPath(),
        exchange.getRequestHeaders().getFirst("Range"),
        exchange.getRequestHeaders().getFirst("Authorization"));
  }

  private void answerHub(HttpExchange exchange) throws IOException {
    try (exchange) {
      Seen seen = seen(exchange);
      hubSeen.add(seen);
      String path = seen.path().replaceFirst("/resolve/[^/]+/", "/");
      String raw = exchange.getRequestURI().getRawPath().replaceFirst("/resolve/[^/]+/", "/");
      if (status != 0) {
        exchange.sendResponseHeaders(status, -1);
      } else if (!token.isEmpty() && !("Bearer " + token).equals(seen.authorization())) {
        exchange.getResponseHeaders().add("X-Error-Code", "RepoNotFound");
        exchange.sendResponseHeaders(401, -1);
      } else if (!renamedTo.isEmpty() && !seen.path().startsWith(renamedTo)) {
        exchange
            .getResponseHeaders()
            .add("Location", seen.path().replaceFirst("^/[^/]+/[^/]+", renamedTo));
        exchange.sendResponseHeaders(307, -1);
      } else if (!files.containsKey(path)) {
        exchange.getResponseHeaders().add("X-Error-Code", "EntryNotFound");
        exchange.sendResponseHeaders(404, -1);
      } else {
        var headers = exchange.getResponseHeaders();
        headers.add("X-Repo-Commit", COMMIT);
        headers.add("X-Linked-Etag", '"' + etags.get(path) + '"');
        headers.add("X-Linked-Size", String.valueOf(files.get(path).length));
        headers.add("Location", address(storage, raw) + "?signature=secret");
        exchange.sendResponseHeaders(302, -1);
      }
    }
  }

  private void answerStorage(HttpExchange exchange) throws IOException {
    try (exchange) {
      Seen seen = seen(exchange);
      storageSeen.add(seen);
      byte[] file = files.get(seen.path());
      int from = 0;
      if (seen.range() != null && !ignoresRanges) {
        from = Integer.parseInt(seen.range().replaceAll("bytes=(\\d+)-", "$1"));
        exchange
            .getResponseHeaders()
            .add("Content-Range", "bytes %d-%d/%d".formatted(from, file.length - 1, file.length));
      }
      exchange.sendResponseHeaders(from == 0 ? 200 : 206, file.length - from);
      int count = file.length - from;
      boolean stall = stalls.getAndDecrement() > 0;
      if (stall || cuts.getAndDecrement() > 0) {
        count = Math.min(count, cutAfterBytes);
      }
      exchange.getResponseBody().write(file, from, count);
      exchange.getResponseBody().flush();
      if (stall) {
        closed.await();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    closed.countDown();
    hub.stop(0);
    storage.stop(0);
    threads.shutdownNow();
  }
}
