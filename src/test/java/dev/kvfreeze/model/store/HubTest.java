package dev.kvfreeze.model.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The hub client against a server on loopback with the hub's addresses and headers. */
class HubTest {
  private static final String ADDRESS = "hf://owner/name/model.gguf";

  @TempDir Path folder;
  private final byte[] model = new byte[1_000_003];
  private String hash;
  private FakeHub hub;

  @BeforeEach
  void start() throws IOException {
    new Random(5).nextBytes(model);
    hash = FileHash.sha256(Files.write(folder.resolve("original"), model));
    hub = new FakeHub().file("/owner/name/model.gguf", model, hash);
  }

  @AfterEach
  void stop() {
    hub.close();
  }

  private StoreSettings settings(String token, boolean offline) {
    return new StoreSettings(
        folder.resolve("kvfreeze"), folder.resolve("hub"), hub.endpoint(), token, offline);
  }

  private ModelStore store(String token, boolean offline) {
    return new ModelStore(
        settings(token, offline), new Patience(Duration.ofMillis(10), Duration.ofMillis(400)));
  }

  private Path resolve(String address) {
    return store("", false).resolve(address, DownloadProgress.NONE);
  }

  private AbstractThrowableAssert<?, ? extends Throwable> assertRefused(String address) {
    return assertThatThrownBy(() -> resolve(address))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContaining("; ");
  }

  private Path repository() {
    return folder.resolve("hub").resolve("models--owner--name");
  }

  @Test
  void downloadsOnceIntoTheHubsLayout() throws IOException {
    List<Long> progress = new ArrayList<>();
    Path path =
        store("", false)
            .resolve(
                ADDRESS,
                (file, done, total) -> {
                  assertThat(file).isEqualTo("model.gguf");
                  assertThat(total).isEqualTo(model.length);
                  progress.add(done);
                });

    assertThat(path).isEqualTo(repository().resolve("snapshots/" + FakeHub.COMMIT + "/model.gguf"));
    assertThat(path).hasBinaryContent(model);
    assertThat(Files.readSymbolicLink(path)).isEqualTo(Path.of("../../blobs/" + hash));
    assertThat(repository().resolve("refs/main")).hasContent(FakeHub.COMMIT);
    assertThat(repository().resolve("blobs")).isDirectoryNotContaining("glob:**incomplete");
    assertThat(progress).isSorted().endsWith((long) model.length);

    assertThat(resolve(ADDRESS)).isEqualTo(path);
    assertThat(hub.gets()).isEqualTo(1);
    // A pinned revision needs no answer at all.
    hub.status = 503;
    assertThat(resolve("hf://owner/name@" + FakeHub.COMMIT + "/model.gguf")).isEqualTo(path);
    assertThat(hub.gets()).isEqualTo(1);
  }

  @Test
  void readsFilesInFoldersAndOddNames() throws IOException {
    hub.file("/owner/name/q 4/model+x.gguf", model, hash);
    assertThat(resolve("hf://owner/name/q 4/model+x.gguf"))
        .hasBinaryContent(model)
        .endsWithRaw(Path.of("q 4", "model+x.gguf"));
  }

  @Test
  void goesOnAfterACutConnection() {
    hub.cutAfterBytes = 300_000;
    hub.cuts.set(2);
    assertThat(resolve(ADDRESS)).hasBinaryContent(model);
    assertThat(hub.storageSeen).hasSize(3);
    assertThat(hub.storageSeen.get(0).range()).isNull();
    assertThat(hub.storageSeen.get(1).range()).matches("bytes=[1-9]\\d*-");
    assertThat(hub.storageSeen.get(2).range()).matches("bytes=[1-9]\\d*-");
  }

  @Test
  @Timeout(30)
  void goesOnAfterAConnectionThatFallsSilent() {
    hub.cutAfterBytes = 300_000;
    hub.stalls.set(1);
    assertThat(resolve(ADDRESS)).hasBinaryContent(model);
    assertThat(hub.storageSeen).hasSize(2);
  }

  @Test
  void goesOnWhereAnEarlierProcessStopped() throws IOException {
    Path incomplete = repository().resolve("blobs").resolve(hash + ".incomplete");
    Files.createDirectories(incomplete.getParent());
    Files.write(incomplete, Arrays.copyOf(model, 123_456));
    assertThat(resolve(ADDRESS)).hasBinaryContent(model);
    assertThat(hub.storageSeen).hasSize(1);
    assertThat(hub.storageSeen.get(0).range()).isEqualTo("bytes=123456-");
    assertThat(incomplete).doesNotExist();
  }

  @Test
  void startsAgainWhereTheServerCannotGoOn() throws IOException {
    Path incomplete = repository().resolve("blobs").resolve(hash + ".incomplete");
    Files.createDirectories(incomplete.getParent());
    Files.write(incomplete, new byte[500]);
    hub.ignoresRanges = true;
    assertThat(resolve(ADDRESS)).hasBinaryContent(model);
  }

  @Test
  void givesUpOnAServerThatSendsNothing() {
    hub.cutAfterBytes = 0;
    hub.cuts.set(1000);
    assertRefused(ADDRESS).hasMessageContainingAll(ADDRESS, "0 of 1000003 bytes");
  }

  @Test
  void refusesTheWrongHash() {
    byte[] other = model.clone();
    other[77]++;
    hub.file("/owner/name/model.gguf", other, hash);
    assertRefused(ADDRESS)
        .hasMessageContainingAll("hf://owner/name@" + FakeHub.COMMIT, "SHA-256", hash, "deleted");
    assertThat(repository().resolve("blobs")).isEmptyDirectory();
    hub.file("/owner/name/model.gguf", model, hash);
    assertThat(resolve(ADDRESS)).hasBinaryContent(model);
  }

  @Test
  void givesTheTokenToTheHubAlone() {
    hub.token = "hf_secret";
    assertRefused(ADDRESS).hasMessageContainingAll("401", "HF_TOKEN", "no token is set");
    ModelStore wrong = store("hf_wrong", false);
    assertThatThrownBy(() -> wrong.resolve(ADDRESS, DownloadProgress.NONE))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContainingAll("401", "RepoNotFound")
        .hasMessageNotContaining("hf_wrong");
    hub.hubSeen.clear();

    Path path = store("hf_secret", false).resolve(ADDRESS, DownloadProgress.NONE);

    assertThat(path).hasBinaryContent(model);
    assertThat(hub.hubSeen)
        .isNotEmpty()
        .allMatch(seen -> seen.authorization().equals("Bearer hf_secret"));
    assertThat(hub.storageSeen).isNotEmpty().allMatch(seen -> seen.authorization() == null);
    assertThat(settings("hf_secret", false).toString()).doesNotContain("hf_secret");
  }

  @Test
  void followsARenamedRepository() {
    hub.renamedTo = "/owner/name";
    assertThat(resolve("hf://old-owner/old-name/model.gguf")).hasBinaryContent(model);
  }

  @Test
  void refusesEndlessRedirects() {
    hub.renamedTo = "/loop/$0";
    assertRefused(ADDRESS).hasMessageContaining("redirects");
  }

  @ParameterizedTest
  @CsvSource({
    "401, HF_TOKEN",
    "403, accept its conditions",
    "404, no such file",
    "400, HF_ENDPOINT"
  })
  void saysWhyTheHubRefuses(int status, String remedy) {
    hub.status = status;
    assertRefused(ADDRESS).hasMessageContainingAll(ADDRESS, "status " + status, remedy);
  }

  @Test
  void saysWhichFileIsNotThere() {
    assertRefused("hf://owner/name/other.gguf")
        .hasMessageContainingAll("other.gguf", "404", "EntryNotFound");
  }

  @Test
  void usesTheCacheWhenTheHubIsAway() {
    Path path = resolve(ADDRESS);
    hub.status = 503;
    assertThat(resolve(ADDRESS)).isEqualTo(path);
    assertRefused("hf://owner/name@v2/model.gguf")
        .hasMessageContainingAll("cannot be reached", "503");
    hub.close();
    assertThat(resolve(ADDRESS)).isEqualTo(path);
    assertRefused("hf://owner/name@v2/model.gguf").hasMessageContaining("cannot be reached");
  }

  @Test
  void asksNobodyWhenOffline() {
    ModelStore offline = store("", true);
    assertThatThrownBy(() -> offline.resolve(ADDRESS, DownloadProgress.NONE))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContainingAll(ADDRESS, "HF_HUB_OFFLINE");
    assertThat(hub.hubSeen).isEmpty();
    Path path = resolve(ADDRESS);
    hub.hubSeen.clear();
    assertThat(offline.resolve(ADDRESS, DownloadProgress.NONE)).isEqualTo(path);
    assertThat(hub.hubSeen).isEmpty();
  }

  @Test
  void downloadsOnceForManyAtATime() throws Exception {
    hub.cutAfterBytes = 100_000;
    hub.cuts.set(3);
    ExecutorService threads = Executors.newFixedThreadPool(6);
    try {
      List<Callable<Path>> jobs = Collections.nCopies(6, () -> resolve(ADDRESS));
      for (Future<Path> path : threads.invokeAll(jobs)) {
        assertThat(path.get()).hasBinaryContent(model);
      }
    } finally {
      threads.shutdownNow();
    }
    assertThat(hub.gets()).isEqualTo(4);
  }

  @Test
  void refusesHeadersThatCouldLeaveTheCache() {
    for (String etag : new String[] {"../../evil", "", "a/b", ".hidden", "x".repeat(200)}) {
      hub.file("/owner/name/model.gguf", model, etag);
      assertRefused(ADDRESS).hasMessageContaining("does not answer as a model hub");
    }
    assertThat(folder.resolve("hub")).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "hf://",
        "hf://owner/model.gguf",
        "hf://owner/name/",
        "hf://owner/name/model.safetensors",
        "hf://owner/../model.gguf",
        "hf://../name/model.gguf",
        "hf://owner/name/../model.gguf",
        "hf://owner/name/a/../../model.gguf",
        "hf://owner/name//model.gguf",
        "hf://owner/name@../model.gguf",
        "hf://owner/name@/model.gguf",
        "hf://owner/name/mo\ndel.gguf"
      })
  void refusesAddressesThatAreNone(String address) {
    assertRefused(address).hasMessageContaining("hf://owner/name/file.gguf");
    assertThat(hub.hubSeen).isEmpty();
  }

  @Test
  void saysWhenTheDiskCannotBeWritten() throws IOException {
    Files.write(folder.resolve("hub"), "a file".getBytes(StandardCharsets.UTF_8));
    assertRefused(ADDRESS).hasMessageContainingAll(ADDRESS, "failed");
  }

  @Test
  void saysWhenNobodyListens() {
    StoreSettings nobody =
        new StoreSettings(
            folder, folder.resolve("hub"), URI.create("http://127.0.0.1:1"), "", false);
    assertThatThrownBy(() -> new ModelStore(nobody).resolve(ADDRESS, DownloadProgress.NONE))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContainingAll(ADDRESS, "http://127.0.0.1:1", "cannot be reached");
  }
}
