package dev.kvfreeze.spark;

import dev.kvfreeze.spark.job.ExitCode;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Starts a job by name; the class for {@code spark-submit}. */
@Command(
    name = "kvfreeze",
    description = "Runs a language model over many long documents, on Apache Spark.",
    mixinStandardHelpOptions = true,
    versionProvider = VersionProvider.class)
public final class Main implements Runnable {
  @Spec private CommandSpec spec;

  private Main() {}

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(), "name a job: " + String.join(", ", spec.subcommands().keySet()));
  }

  /** Runs the job and ends the JVM with its {@link ExitCode}. */
  public static void main(String[] arguments) {
    System.exit(execute(arguments));
  }

  /** Runs the job; returns the exit code. */
  public static int execute(String... arguments) {
    CommandLine commandLine = new CommandLine(new Main());
    JobCommands.all().forEach(commandLine::addSubcommand);
    commandLine.setUsageHelpAutoWidth(true);
    commandLine.setCaseInsensitiveEnumValuesAllowed(true);
    commandLine.setExecutionExceptionHandler(new FailureHandler());
    return commandLine.execute(arguments);
  }
}
