package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/**
 * The committed PTX is what the sources compile to, and assembles for every architecture without
 * spills beyond the written allowance. Needs no GPU; its first run downloads the compiler.
 */
class CudaKernelsCompileIT {
  @Test
  void committedPtxBelongsToItsSources() {
    String script = Path.of("src", "main", "cuda", "compile.py").toString();
    String output =
        HostKernels.run(
            new ProcessBuilder("python3", script, "--check"),
            "the compiled kernels do not belong to their sources");
    assertThat(output).contains("are what their sources compile to");
  }
}
