package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** The CUDA kernels, compiled for the host, against plain twins in C++. */
class HostKernelsTest {
  @Test
  void everyKernelEqualsItsTwinOverAwkwardSizes() {
    Path tests = HostKernels.buildTests();
    String output =
        HostKernels.run(new ProcessBuilder(tests.toString()), "a kernel differs from its twin");
    assertThat(output).contains("passed").doesNotContain("FAILED");
  }

  @Test
  void everyKernelOfTheSourcesIsInTheLibraryAndTheReadme() throws IOException {
    String readme = Files.readString(Path.of("src", "main", "cuda", "README.md"));
    int declared = 0;
    for (Path family : HostKernels.families()) {
      declared += Files.readString(family).split("extern \"C\" __global__", -1).length - 1;
    }
    assertThat(HostKernels.load().kernels())
        .hasSize(declared)
        .allSatisfy(name -> assertThat(readme).contains("`" + name + "`"));
  }

  @Test
  void launchesFromJava() {
    HostKernels kernels = HostKernels.load();
    int count = 1500;
    long x = kernels.allocate(4L * count);
    long y = kernels.allocate(4L * count);
    try {
      for (int i = 0; i < count; i++) {
        kernels.view(x, 4L * count).putFloat(4 * i, i);
        kernels.view(y, 4L * count).putFloat(4 * i, 0.5f);
      }
      ByteBuffer arguments = ByteBuffer.allocateDirect(24).order(ByteOrder.nativeOrder());
      arguments.putLong(0, x).putLong(8, y).putInt(16, count);
      kernels.launch("add", 2, 1, 1, 256, 1, 1, 0, arguments, new int[] {0, 8, 16});
      for (int i = 0; i < count; i++) {
        assertThat(kernels.view(x, 4L * count).getFloat(4 * i)).isEqualTo(i + 0.5f);
      }
    } finally {
      kernels.free(x);
      kernels.free(y);
    }
  }

  @Test
  void refusesUnknownKernelsAndShapes() {
    HostKernels kernels = HostKernels.load();
    ByteBuffer none = ByteBuffer.allocateDirect(8);
    assertThatThrownBy(() -> kernels.launch("subtract", 1, 1, 1, 32, 1, 1, 0, none, new int[0]))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("no kernel is called subtract");
    assertThatThrownBy(() -> kernels.launch("add", 1, 1, 1, 33, 1, 1, 0, none, new int[0]))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("whole warps");
  }
}
