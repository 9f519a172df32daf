package dev.kvfreeze.device.cpu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the processor calls itself. */
final class ProcessorName {
  private ProcessorName() {}

  /** The name where the system tells it, else the architecture. */
  static String read() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
        if (line.startsWith("model name")) {
          return line.substring(line.indexOf(':') + 1).strip();
        }
      }
    } catch (IOException e) {
      // Not Linux: the architecture must do.
    }
    return System.getProperty("os.arch");
  }
}
