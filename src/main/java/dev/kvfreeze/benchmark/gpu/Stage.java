package dev.kvfreeze.benchmark.gpu;

import java.util.List;

/** One part of the check. */
interface Stage {
  String name();

  /**
   * Runs it.
   *
   * @return lines for the report; figures and what was compared
   * @throws CheckFailure when something is not as it should be
   */
  List<String> run(CheckSetup setup) throws Exception;

  /** What was found wrong. */
  final class CheckFailure extends RuntimeException {
    private static final long serialVersionUID = 1L;

    CheckFailure(String message) {
      super(message);
    }
  }

  /** Fails the stage unless it holds. */
  static void require(boolean holds, String message) {
    if (!holds) {
      throw new CheckFailure(message);
    }
  }
}
