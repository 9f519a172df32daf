package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.DeviceBudget;
import dev.kvfreeze.device.cuda.CudaDevice;
import dev.kvfreeze.device.cuda.CudaUnavailableException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Checks and measures the CUDA device on the GPU at hand, in stages, most important first. Each
 * prints its result as it ends, so that a run that is cut off has told what it knew. Exit code 0
 * when all stages passed, 1 when one failed, 2 for wrong options.
 */
@Command(name = "gpu-check", mixinStandardHelpOptions = true)
public final class GpuCheck implements Callable<Integer> {
  @Option(names = "--gpu", defaultValue = "", description = "ordinal or UUID; default: the first")
  private String gpu;

  @Option(names = "--model", description = "GGUF file; several may be given, the smallest first")
  private List<Path> models = new ArrayList<>();

  @Option(names = "--text", required = true, description = "text that prompts are cut from")
  private Path text;

  @Option(names = "--minutes", defaultValue = "8.5", description = "measuring stops before")
  private double minutes;

  @Option(names = "--short", description = "the operations alone, as for compute-sanitizer")
  private boolean shortForm;

  /** Starts it. */
  public static void main(String[] arguments) {
    System.exit(new CommandLine(new GpuCheck()).execute(arguments));
  }

  @Override
  public Integer call() throws Exception {
    CheckSetup setup =
        new CheckSetup(
            () -> CudaDevice.open(gpu, DeviceBudget.MOST),
            models,
            repeated(Files.readString(text, StandardCharsets.UTF_8), 200_000),
            1,
            System.nanoTime() + (long) (minutes * TimeUnit.MINUTES.toNanos(1)));
    try (CudaDevice device = setup.devices().get()) {
      System.out.println(device.info().device() + ", Java " + Runtime.version());
    } catch (CudaUnavailableException e) {
      System.out.println("gpu-check: " + e.getMessage());
      return 1;
    }
    return run(shortForm ? operations() : stages(models), setup, System.out);
  }

  private static String repeated(String text, int characters) {
    return text.repeat(characters / Math.max(1, text.length()) + 1);
  }

  private static List<Stage> operations() {
    return List.of(new OperationStage(), new SketchStage(), new FusedStage());
  }

  private static List<Stage> stages(List<Path> models) {
    List<Stage> stages = new ArrayList<>();
    stages.addAll(operations());
    if (!models.isEmpty()) {
      stages.add(new GreedyStage());
      stages.add(new SoakStage());
      stages.add(new FreezingStage());
    }
    int[] contexts = {128, 8192, 32_768, 131_072};
    int[] batches = {1, 8, 32};
    int[] prompts = {2048, 8192, 32_768};
    stages.add(new SpeedStage(RandomModel.llama3With8Billion(), contexts, batches, prompts, 2048));
    stages.add(
        new SpeedStage(RandomModel.smolLm2With135Million(), contexts, batches, prompts, 2048));
    return stages;
  }

  /** Runs the stages, all of them whatever fails, and a table last. */
  static int run(List<Stage> stages, CheckSetup setup, PrintStream out) {
    List<String> table = new ArrayList<>();
    int failed = 0;
    for (Stage stage : stages) {
      long start = System.nanoTime();
      String result;
      try {
        List<String> lines = stage.run(setup);
        lines.forEach(line -> out.println("  " + line));
        result = "passed";
      } catch (Exception | Error e) {
        failed++;
        result = "FAILED";
        out.println("  " + e);
        if (!(e instanceof Stage.CheckFailure)) {
          e.printStackTrace(out);
        }
      }
      double seconds = (System.nanoTime() - start) / 1e9;
      table.add("| %s | %s | %.1f s |".formatted(stage.name(), result, seconds));
      out.println(stage.name() + ": " + result);
      out.flush();
    }
    out.println("| stage | result | took |\n|---|---|---|");
    table.forEach(out::println);
    return failed == 0 ? 0 : 1;
  }
}
