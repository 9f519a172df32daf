package dev.kvfreeze.benchmark.gpu;

import dev.kvfreeze.device.cuda.CudaDevice;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;

/**
 * What the stages work with.
 *
 * @param devices opens the GPU; each stage opens and closes it once or more
 * @param models GGUF files, the smallest first
 * @param text prose that prompts are cut from
 * @param scale 1 for a GPU; less for a device that is thousands of times slower
 * @param deadlineNanos of {@link System#nanoTime}: stages that measure stop before it
 */
record CheckSetup(
    Supplier<CudaDevice> devices,
    List<Path> models,
    String text,
    double scale,
    long deadlineNanos) {

  /** So many of something, fewer on a slow device, at least one. */
  int scaled(int count) {
    return Math.max(1, (int) (count * scale));
  }

  double secondsLeft() {
    return (deadlineNanos - System.nanoTime()) / 1e9;
  }
}
