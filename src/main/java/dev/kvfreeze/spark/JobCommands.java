package dev.kvfreeze.spark;

import java.util.List;

/**
 * The registry of jobs: a new one is a class with its command's name and options, and a line here.
 */
final class JobCommands {
  private JobCommands() {}

  static List<Object> all() {
    return List.of(
        new SummarizeCommand(),
        new GenerateCommand(),
        new EvaluateCommand(),
        new CalibrateCommand());
  }
}
