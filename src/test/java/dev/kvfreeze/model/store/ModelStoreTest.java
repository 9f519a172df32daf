package dev.kvfreeze.model.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.kvfreeze.model.ModelFileException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelStoreTest {
  @TempDir Path folder;

  private StoreSettings settings() {
    return new StoreSettings(
        folder, folder.resolve("hub"), URI.create("http://127.0.0.1:1"), "", false);
  }

  private ModelStore store() {
    return new ModelStore(settings());
  }

  private void assertRefused(String model, String... parts) {
    assertThatThrownBy(() -> store().resolve(model, DownloadProgress.NONE))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContaining("; ")
        .hasMessageContainingAll(parts);
  }

  @Test
  void findsTheRealModelsOfTheCatalogue() {
    ModelStore store = new ModelStore(StoreSettings.fromEnvironment());
    for (CatalogueModel model : CatalogueModel.ALL) {
      assertThat(store.resolve(model.name(), DownloadProgress.NONE)).hasFileName(model.file());
    }
  }

  @Test
  void saysHowToFetchACatalogueModel() throws IOException {
    String name = CatalogueModel.DEFAULT.name();
    assertRefused(name, name, "missing", "run jobs/fetch-model");
    Path path = settings().models().resolve(CatalogueModel.DEFAULT.file());
    Files.createDirectories(path.getParent());
    Files.write(path, new byte[54]);
    assertRefused(name, "54 bytes", "98362432", "run jobs/fetch-model");
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.setLength(CatalogueModel.DEFAULT.bytes());
    }
    assertRefused(name, "SHA-256", CatalogueModel.DEFAULT.sha256(), "run jobs/fetch-model");
  }

  @Test
  void takesPaths() throws IOException {
    Path path = Files.write(folder.resolve("a model.gguf"), new byte[1]);
    assertThat(store().resolve(path.toString(), DownloadProgress.NONE)).isEqualTo(path);
    assertThat(store().resolve(path.toUri().toString(), DownloadProgress.NONE)).isEqualTo(path);
    assertRefused(folder.resolve("absent.gguf").toString(), "absent.gguf", "smollm2-135m-instruct");
    assertRefused("smollm3", "smollm3", "smollm2-135m-instruct");
    assertRefused(folder.toString(), "folder");
    assertRefused("", "--model");
    assertRefused("\0", "no path");
    assertRefused("hdfs://host/a.gguf", "hdfs://host/a.gguf", "Spark jobs");
    assertRefused("s3a://bucket/a.gguf", "s3a://bucket/a.gguf");
  }

  @Test
  void adoptsCopiesOfRemoteFiles() throws IOException {
    String address = "hdfs://host:8020/models/a.gguf";
    assertThat(store().adopted(address, 5, "1")).isEmpty();
    Path copy = Files.write(store().temporaryFile(), new byte[5]);

    Path adopted = store().adopt(address, 5, "1", copy);

    assertThat(adopted).hasFileName("a.gguf").hasSize(5);
    assertThat(copy).doesNotExist();
    assertThat(store().adopted(address, 5, "1")).contains(adopted);
    assertThat(store().adopted(address, 5, "2")).isEmpty();
    assertThat(store().adopted(address, 6, "1")).isEmpty();
    assertThat(store().adopted("s3a://host:8020/models/a.gguf", 5, "1")).isEmpty();
    Path half = Files.write(store().temporaryFile(), new byte[3]);
    assertThatThrownBy(() -> store().adopt(address, 5, "2", half))
        .isInstanceOf(ModelFileException.class)
        .hasMessageContainingAll(address, "3 bytes", "expected 5");
    assertThat(store().adopted(address + "/..", 5, "1")).isEmpty();
  }

  @Test
  void remembersHashesUntilTheFileChanges() throws IOException {
    Path cache = folder.resolve("cache");
    Path path = Files.write(folder.resolve("big"), new byte[8 << 20]);
    String hash = FileHash.sha256(path);
    assertThat(FileHash.cachedSha256(path, cache)).isEqualTo(hash);
    Path stamp;
    try (var stamps = Files.list(cache.resolve("hashes"))) {
      stamp = stamps.findFirst().orElseThrow();
    }
    String wrong = "f".repeat(64);
    Files.writeString(stamp, Files.readString(stamp).replace(hash, wrong));
    assertThat(FileHash.cachedSha256(path, cache)).as("remembered").isEqualTo(wrong);
    Files.setLastModifiedTime(path, FileTime.fromMillis(1));
    assertThat(FileHash.cachedSha256(path, cache)).as("computed again").isEqualTo(hash);
    Files.writeString(stamp, "no stamp");
    assertThat(FileHash.cachedSha256(path, cache)).isEqualTo(hash);
    // What jobs/fetch-model writes.
    Files.writeString(folder.resolve("big.verified"), wrong + " " + (8 << 20) + " 1000000\n");
    assertThat(FileHash.cachedSha256(path, cache)).isEqualTo(wrong);
  }

  @Test
  void hashesWhereNothingCanBeRemembered() throws IOException {
    Path path = Files.write(folder.resolve("big"), new byte[8 << 20]);
    Path noFolder = Files.write(folder.resolve("file"), new byte[1]);
    assertThat(FileHash.cachedSha256(path, noFolder)).isEqualTo(FileHash.sha256(path));
  }

  @Test
  void readsTheEnvironment() throws IOException {
    Path home = folder.resolve("home");
    StoreSettings usual = StoreSettings.from(Map.of(), home);
    assertThat(usual.cacheFolder()).isEqualTo(home.resolve(".cache/kvfreeze"));
    assertThat(usual.models()).isEqualTo(home.resolve(".cache/kvfreeze/models"));
    assertThat(usual.hubCache()).isEqualTo(home.resolve(".cache/huggingface/hub"));
    assertThat(usual.endpoint().getScheme()).isEqualTo("https");
    assertThat(usual.token()).isEmpty();
    assertThat(usual.offline()).isFalse();

    Path hubHome = Files.createDirectories(folder.resolve("hf"));
    Files.writeString(hubHome.resolve("token"), "hf_file\n");
    Map<String, String> environment =
        Map.of(
            "HF_HOME", hubHome.toString(),
            "HF_ENDPOINT", "http://localhost:9/",
            "HF_HUB_OFFLINE", "1",
            "KVFREEZE_CACHE", "/data/kvfreeze");
    StoreSettings set = StoreSettings.from(environment, home);
    assertThat(set.models()).isEqualTo(Path.of("/data/kvfreeze/models"));
    assertThat(set.hubCache()).isEqualTo(hubHome.resolve("hub"));
    assertThat(set.endpoint()).isEqualTo(URI.create("http://localhost:9"));
    assertThat(set.token()).isEqualTo("hf_file");
    assertThat(set.offline()).isTrue();
    assertThat(
            StoreSettings.from(Map.of("HF_HOME", hubHome.toString(), "HF_TOKEN", " hf_set "), home)
                .token())
        .isEqualTo("hf_set");
    for (String endpoint : new String[] {"hub", "ftp://host", "http:// x", "https://"}) {
      assertThatThrownBy(() -> StoreSettings.from(Map.of("HF_ENDPOINT", endpoint), home))
          .isInstanceOf(ModelFileException.class)
          .hasMessageContainingAll("HF_ENDPOINT", endpoint);
    }
  }
}
