package dev.kvfreeze.spark;

import dev.kvfreeze.spark.job.ExitCode;
import dev.kvfreeze.spark.job.JobFailure;
import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.ParseResult;

/**
 * Prints a failure: its message where that says all, with the stack trace where it was unexpected.
 */
final class FailureHandler implements IExecutionExceptionHandler {
  @Override
  public int handleExecutionException(
      Exception failure, CommandLine commandLine, ParseResult parsed) {
    PrintWriter err = commandLine.getErr();
    if (failure instanceof JobFailure expected) {
      err.println("kvfreeze: " + expected.getMessage());
      err.flush();
      return expected.exitCode().code();
    }
    failure.printStackTrace(err);
    err.println("kvfreeze: unexpected failure: " + failure);
    err.flush();
    return ExitCode.FAILED.code();
  }
}
