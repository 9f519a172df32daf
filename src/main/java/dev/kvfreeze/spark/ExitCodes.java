package dev.kvfreeze.spark;

/** The exit codes in words, for the help; see {@link dev.kvfreeze.spark.job.ExitCode}. */
final class ExitCodes {
  static final String TEXT =
      "%nExit codes: 0 every document is done; 1 the job failed, what is done stays done;%n"
          + "2 wrong option, setting, input or output; 3 done, but some documents failed (they are%n"
          + "rows with their error); 4 stopped, more failed than job.errorBudget allows.%n"
          + "In cluster deploy mode spark-submit itself returns 0 or 1.";

  private ExitCodes() {}
}
