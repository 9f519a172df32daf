package dev.kvfreeze.benchmark.gpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.cuda.HostDriver;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The stages of {@code jobs/gpu-check} on the device in host memory: they must be right first time. */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class GpuCheckTest {
  private static CheckSetup setup(HostCode code, List<Path> models, double scale) {
    return new CheckSetup(
        () -> HostDriver.device(1L << 30, code),
        models,
        "",
        scale,
        System.nanoTime() + TimeUnit.MINUTES.toNanos(9));
  }

  @ParameterizedTest
  @EnumSource(HostCode.class)
  void operationsAgreeWithTheCpus(HostCode code) throws Exception {
    List<String> lines = new OperationStage().run(setup(code, List.of(), 0.01));

    lines.forEach(System.out::println);
    assertThat(lines).isNotEmpty();
  }
}
