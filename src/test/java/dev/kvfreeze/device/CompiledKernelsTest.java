package dev.kvfreeze.device;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The committed kernels were made from the sources as they are: neither changes without the other.
 * The checksums are those of {@code src/main/kernel_build.py}.
 */
class CompiledKernelsTest {
  private static final Path RESOURCES = Path.of("src/main/resources/dev/kvfreeze/device");
  private static final List<String> NO_SOURCES = List.of("checksums.txt", "README.md");

  @ParameterizedTest
  @CsvSource({"src/main/cuda, cuda/ptx", "src/main/native, cpu/native/linux-x86_64"})
  void belongToTheirSources(Path sources, String outputs) throws Exception {
    Map<String, String> found = new TreeMap<>();
    found.put("sources", sourcesDigest(sources));
    for (Path output : files(RESOURCES.resolve(outputs))) {
      found.put(output.getFileName().toString(), hex(digest().digest(Files.readAllBytes(output))));
    }
    Map<String, String> written = new TreeMap<>();
    for (String line : Files.readAllLines(sources.resolve("checksums.txt"))) {
      String[] fields = line.split(" {2}");
      written.put(fields[1], fields[0]);
    }
    assertThat(found).as("run %s/compile.py and commit what it writes", sources).isEqualTo(written);
  }

  private static String sourcesDigest(Path folder) throws Exception {
    MessageDigest digest = digest();
    for (Path file : files(folder)) {
      String name = file.getFileName().toString();
      if (!NO_SOURCES.contains(name)) {
        digest.update((name + "\0").getBytes(StandardCharsets.UTF_8));
        digest.update(Files.readAllBytes(file));
        digest.update((byte) 0);
      }
    }
    return hex(digest.digest());
  }

  private static List<Path> files(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(Files::isRegularFile).sorted().toList();
    }
  }

  private static MessageDigest digest() throws NoSuchAlgorithmException {
    return MessageDigest.getInstance("SHA-256");
  }

  private static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }
}
