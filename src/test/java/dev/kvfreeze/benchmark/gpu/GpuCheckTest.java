package dev.kvfreeze.benchmark.gpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.kvfreeze.device.cuda.HostDriver;
import dev.kvfreeze.device.cuda.HostDriver.HostCode;
import dev.kvfreeze.engine.RealModels;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The stages of {@code jobs/gpu-check} on the device in host memory: they must be right first time.
 */
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

    assertThat(lines).isNotEmpty();
  }

  @ParameterizedTest
  @EnumSource(HostCode.class)
  void sketchesAgreeWithTheCpus(HostCode code) throws Exception {
    List<String> lines = new SketchStage().run(setup(code, List.of(), 0.01));

    assertThat(lines).isNotEmpty();
  }

  /** The plain stand-ins round as their compiler pleases. */
  @Test
  void fusedLaunchesGiveTheBitsOfPlainOnes() throws Exception {
    List<String> lines = new FusedStage().run(setup(HostCode.KERNELS, List.of(), 0.01));

    assertThat(lines).isNotEmpty();
  }

  @Test
  void theOtherStagesRunToTheirEnd() throws Exception {
    String prose = Files.readString(Path.of("jobs/samples/austen-persuasion-opening.txt"));
    CheckSetup setup =
        new CheckSetup(
            () -> HostDriver.device(800L << 20, HostCode.PLAIN),
            List.of(RealModels.file("SmolLM2-135M-Instruct.Q4_1.gguf")),
            prose,
            0.01,
            System.nanoTime() + TimeUnit.MINUTES.toNanos(9));
    List<Stage> stages =
        List.of(
            new GreedyStage(),
            new SoakStage(),
            new FreezingStage(),
            new SpeedStage(
                RandomModel.tiny(), new int[] {128, 1024}, new int[] {1, 3}, new int[] {70}, 64));
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    int code = GpuCheck.run(stages, setup, new PrintStream(bytes, true, StandardCharsets.UTF_8));

    assertThat(code).as(bytes.toString(StandardCharsets.UTF_8)).isZero();
    assertThat(bytes.toString(StandardCharsets.UTF_8)).contains("| passed |");
  }
}
