package dev.kvfreeze.spark.job;

/** Ends a job with an exit code and a message for people, without a stack trace. */
public final class JobFailure extends RuntimeException {
  private final ExitCode exitCode;

  public JobFailure(ExitCode exitCode, String message, Throwable cause) {
    super(message, cause);
    this.exitCode = exitCode;
  }

  public ExitCode exitCode() {
    return exitCode;
  }
}
