package dev.kvfreeze.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * The committed libraries are what the sources of the native kernels compile to, byte for byte. Its
 * first run downloads the compiler. In every build, {@code CompiledKernelsTest} compares checksums
 * instead.
 */
@Tag("recompile")
class NativeKernelsCompileIT {
  @Test
  void committedLibrariesBelongToTheirSources() throws IOException, InterruptedException {
    String script = Path.of("src", "main", "native", "compile.py").toString();
    ProcessBuilder builder = new ProcessBuilder("python3", script, "--check");
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    Process process = builder.redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(output).isZero();
    assertThat(output).contains("belongs to its sources");
  }
}
