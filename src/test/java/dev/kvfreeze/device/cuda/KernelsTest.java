package dev.kvfreeze.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class KernelsTest {
  @Test
  void everyKernelIsInThePtxThatTheJarCarries() {
    Kernels.FAMILIES.forEach(
        (family, kernels) -> {
          String ptx = new String(Kernels.fromJar(family), StandardCharsets.US_ASCII);
          for (String kernel : kernels) {
            assertThat(ptx).contains(".entry " + kernel + "(");
          }
        });
  }

  /** What the launches pass is what the kernels take. */
  @Test
  void theStandInKnowsEveryKernel() {
    CudaDriver driver = HostDriver.load();
    Kernels.FAMILIES.forEach(
        (family, kernels) ->
            assertThat(driver.load(family, HostDriver.ptx(family), kernels))
                .hasSameSizeAs(kernels));
  }
}
